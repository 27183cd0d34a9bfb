"""What the synthetic writers of several datasets draw with: exact totals, labelers' states, readers, DICOM files."""
