"""Which photographs a set may hold, besides whole ones: licences that are kept, a deny-list, sharpness and pose."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.plan import Plan
from faces.errors import SamaeError
from faces.files import digest_of, read_json

#: The lists of a deny-list file. md5 may be that of the file or of the pixels.
DENY_FIELDS = ("photo_url", "author", "md5")


@dataclass(frozen=True)
class Rules:
    """What decides over a whole, readable photograph. Limits: see assets/plan.py."""

    licences: frozenset[str]
    denied_urls: frozenset[str]
    denied_authors: frozenset[str]
    denied_md5: frozenset[str]
    least_sharpness: float
    most_yaw_degrees: float
    most_pitch_degrees: float

    @classmethod
    def of(cls, plan: Plan) -> "Rules":
        """The rules of a plan; SamaeError when its deny-list cannot be read."""
        denied = read_deny_list(plan.deny_list) if plan.deny_list else {}
        urls, authors, sums = (frozenset(denied.get(name, ())) for name in DENY_FIELDS)
        limits = plan.least_sharpness, plan.most_yaw_degrees, plan.most_pitch_degrees
        return cls(frozenset(plan.licences), urls, authors, sums, *limits)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of everything the rules say."""
        return digest_of({k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(self).items()})

    def reason_by_listing(self, entry: dict[str, Any]) -> str:
        """Why the entry's licence, address, author or sums keep the photograph out; "" when they do not."""
        about, image = part_of(entry, "metadata"), part_of(entry, "image")
        if self.licences and str(about.get("license", "")) not in self.licences:
            return "licence not kept"
        named = str(about.get("photo_url")) in self.denied_urls or str(about.get("author")) in self.denied_authors
        if named or {str(image.get("file_md5")), str(image.get("pixel_md5"))} & self.denied_md5:
            return "on the deny-list"
        return ""

    def reason_by_sums(self, file_md5: str, pixel_md5: str) -> str:
        """The same by the sums of the bytes and pixels that are really there."""
        return "on the deny-list" if {file_md5, pixel_md5} & self.denied_md5 else ""

    def reason_by_look(self, sharpness: float, pitch_degrees: float, yaw_degrees: float) -> str:
        """Why the picture's content keeps it out; "" when it does not."""
        if sharpness < self.least_sharpness:
            return "blurred"
        if abs(yaw_degrees) > self.most_yaw_degrees or abs(pitch_degrees) > self.most_pitch_degrees:
            return "extreme pose"
        return ""


def part_of(entry: dict[str, Any], name: str) -> dict[str, Any]:
    """An object inside an entry of the listing; {} when it is missing or something else."""
    part = entry.get(name)
    return part if isinstance(part, dict) else {}


def read_deny_list(path: Path) -> dict[str, list[str]]:
    """{"photo_url": [...], "author": [...], "md5": [...]}, each optional; SamaeError for anything else."""
    found = read_json(path)
    good = isinstance(found, dict) and set(found) <= set(DENY_FIELDS)
    if not good or not all(isinstance(v, list) and all(isinstance(x, str) for x in v) for v in found.values()):
        raise SamaeError(f"{path} is no deny-list: write a JSON object with lists of texts {', '.join(DENY_FIELDS)}")
    return found
