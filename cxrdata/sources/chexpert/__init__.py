"""CheXpert, with its test set, demographics workbook and CheXpert Plus."""
