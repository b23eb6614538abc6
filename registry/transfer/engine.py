"""Moves the blobs of one manifest: what is missing, in spans, by as many workers as it pays for.

Knows order and concurrency; the targets know places, `retry` knows patience.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from registry.contracts import Destination, Elsewhere, How, Intake, Reading, Source
from registry.errors import CorruptError, ProtocolError, TransientError
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.transfer.progress import BlobReport, Observer
from registry.transfer.retry import Patience
from registry.transfer.workers import Workers

_LOOK_EVERY = 0.2  # seconds between two looks at another process's progress, and at our own rate
_CHANCES = 2  # a blob that turns out wrong is mended once
