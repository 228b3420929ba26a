"""Questions about what is recorded: why a verdict is what it is, what differs, what changed over time, and
how to show a difference without pcv.
"""

from pcvd.inquiry.questions import QUESTIONS, Inquiry, Now

__all__ = ["QUESTIONS", "Inquiry", "Now"]
