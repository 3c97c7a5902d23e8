"""What a student's shape will cost on this machine, in time and bytes, before it is trained."""
