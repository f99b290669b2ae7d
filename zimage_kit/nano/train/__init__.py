"""How nano is trained: pieces of a few minutes on one GPU, each resumable, each saving before anything else happens.

    python -m zimage_kit.nano.train autoencoder --state DIR --seconds 300
    python -m zimage_kit.nano.train judge       --state DIR --seconds 200
    python -m zimage_kit.nano.train denoiser    --state DIR --seconds 300 --total 1200   (four times)
    python -m zimage_kit.nano.train distil      --state DIR --seconds 300
    python -m zimage_kit.nano.train export      --state DIR --to zimage_kit/nano/weights

A piece is a module with a `run(Setup)`; a ControlNet, a 2x network or a LoRA is one more module beside these, on the
same scenes (`data.Stream`), with the same optimizers, clock and files (`common`).
"""
