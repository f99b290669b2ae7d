"""Who may draw, and when: sessions, jobs, their status, and the engine inside of this process."""
