"""What was asked for, what came out, and what it depends on: requests, artifacts, their files, reruns."""
