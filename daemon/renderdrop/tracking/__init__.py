"""Task → result: every submitted task is asked after until the platform says how it ended."""
