"""The prose for every kind of event, as rules of `lmlab.data.stories.grammar`."""

from lmlab.data.stories.prose import faring, frame, making, seeking, trading

TEXTS = (frame.TEXT, seeking.TEXT, trading.TEXT, making.TEXT, faring.TEXT)
