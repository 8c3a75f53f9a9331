"""Share → job: what lands in an inbox is noticed, waited for until it stops changing, and accepted."""
