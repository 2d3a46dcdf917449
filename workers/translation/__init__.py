"""Training of image translators: CycleGAN and pix2pix."""
