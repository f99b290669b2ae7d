"""nano: a miniature of Z-Image-Turbo, trained by this project on scenes that it draws itself.

Importing this package costs nothing; README.md beside it is the model card.
"""

from pathlib import Path

DIRECTORY = Path(__file__).parent / "weights"
"""The directory that `ZImagePipeline.from_pretrained` loads."""
