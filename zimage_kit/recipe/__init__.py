"""What was asked for, what came out, what it depends on: requests, artifacts, their files, verdicts on reruns."""
