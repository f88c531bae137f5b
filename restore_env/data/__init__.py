"""Images and photos, distortions, pairs of distorted and reference images, and toolchain logs."""
