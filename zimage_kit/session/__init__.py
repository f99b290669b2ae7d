"""Sessions and jobs: who draws, and when. Also their status, and the engine that runs inside this process."""
