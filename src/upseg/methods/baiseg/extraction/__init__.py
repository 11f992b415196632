"""The mask extraction pipeline: from a boundary map to instances (Sec. 3.6, Appendix C)."""

from upseg.methods.baiseg.extraction.pipeline import ExtractedInstances, extract

__all__ = ["ExtractedInstances", "extract"]
