"""Result → outbox: outputs fetched, named, published with their sidecar; sources archived; failures told."""
