"""How nano is trained: pieces of a few minutes on one GPU, each resumable, each saving before anything else happens.

    python -m zimage_kit.nano.train autoencoder --state DIR --seconds 300
    python -m zimage_kit.nano.train judge       --state DIR --seconds 200
    python -m zimage_kit.nano.train denoiser    --state DIR --seconds 300 --total 1200   (four times)
    python -m zimage_kit.nano.train distil      --state DIR --seconds 300
    python -m zimage_kit.nano.train export      --state DIR --to zimage_kit/nano/weights

What is made for the finished weights begins from them:

    python -m zimage_kit.nano.train joints      --state DIR --seconds 150
    python -m zimage_kit.nano.train controlnet  --state DIR --seconds 500
    python -m zimage_kit.nano.train check-pose  --state DIR --to DIR
    python -m zimage_kit.nano.train export-pose --state DIR --to zimage_kit/nano/controlnet
    python -m zimage_kit.nano.train upscaler    --state DIR --seconds 240
    python -m zimage_kit.nano.train export-upscaler --state DIR --to zimage_kit/nano/upscale
    python -m zimage_kit.nano.train lora        --state DIR --seconds 240
    python -m zimage_kit.nano.train check-lora  --state DIR --to DIR
    python -m zimage_kit.nano.train export-lora --state DIR --to zimage_kit/nano/loras

A later training goes on from the weights that are shipped, also when the lexicon has grown:

    python -m zimage_kit.nano.train begin       --state DIR --to zimage_kit/nano/weights

All of it in one go, with the times that one H200 needs: `scripts/train_nano.sh STATE TO`. Machines may go away, so the
denoiser saves every minute, and what is exported should be fetched as it comes.

A piece is a module with a `run(Setup)`, on scenes from `data.Stream`, with the optimizers, clock and files of `common`.
"""
