"""What is read off a kernel: spectra, predictions, attacks, eigenfeatures, and the sentences that say it."""
