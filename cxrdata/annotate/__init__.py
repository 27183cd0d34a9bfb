"""Any file or frame with an image key: joined to the catalog, and looked over.

`annotate_frame(catalog, frame)` (also `cxrdata.open().annotate(frame)`) and `annotate_file(catalog, path)` return an
`Annotation`: its `frame` has the rows with age, sex, race, view, patient and labels; printed, it is one page of findings.
"""

from cxrdata.annotate.annotation import Annotation
from cxrdata.annotate.run import annotate_file, annotate_frame

__all__ = ["Annotation", "annotate_file", "annotate_frame"]
