import base64
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import pytest

import studies
from ground import HUNG
from ttt.errors import ConfigError, MissingExtra
from ttt.report.render.page import page, write_page

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Says what the page looks like from inside, where only the source can be read from outside.
MEASURE = """<script>addEventListener("load", () => {{ {} }});</script>"""
WIDTH = """const root = document.documentElement;
  document.title = `${root.scrollWidth} of ${innerWidth}`;"""
# What reaches beyond the screen or is shown in part, though the page itself may not be too wide.
CUT = """for (const each of document.querySelectorAll("details")) each.open = true;
  const cut = [...document.querySelectorAll("td span, li, p, h2, h3, h4, dd, figcaption, svg")]
    .filter(each => each.getBoundingClientRect().right > innerWidth + 0.5
      || each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0);
  document.title = cut.map(each => each.textContent.slice(0, 40)).join("|") || "nothing";"""
CLICK = """const head = text => [...document.querySelectorAll("table")[0].tHead.rows[0].cells]
    .find(each => each.textContent.startsWith(text));
  const order = () => [...document.querySelectorAll("table")[0].tBodies[0].rows]
    .map(row => row.cells[2].textContent).join(" ");
  const said = [order()];
  for (const text of ["score", "score", "nodes", "nodes"]) {
    head(text).querySelector("button").click();
    said.push(head(text).getAttribute("aria-sort") + ": " + order());
  }
  said.push(document.querySelectorAll("th[aria-sort]").length);
  head("score").querySelector("button").focus();
  said.push(document.activeElement.tagName);
  document.title = said.join("|");"""


@pytest.fixture
def chromium(tmp_path):
    """Run headless Chromium on a file; with TTT_REQUIRE_CHROMIUM, not to have one is a failure."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        reason = f"none of {', '.join(NAMES)} is installed"
        (pytest.fail if os.environ.get("TTT_REQUIRE_CHROMIUM") else pytest.skip)(reason)

    def run(file, *options):
        return subprocess.run(
            [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--no-first-run", "--disable-extensions", "--disable-background-networking",
             "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}",
             "--enable-logging=stderr", *options, file.as_uri()],
            capture_output=True, text=True, timeout=HUNG, check=True,
        )  # fmt: skip

    return run


def complaints(done):
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def title(done):
    return re.search("<title>(.*?)</title>", done.stdout, re.DOTALL)[1]


def with_script(text, script):
    return trusted(text.replace("</body>", f"{MEASURE.format(script)}</body>"))


def trusted(text):
    """The page with its policy filled in anew, for the styles and scripts that a test has given."""
    for tag in ("style", "script"):
        found = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()) for one in found]
        sources = " ".join(f"'sha256-{each.decode()}'" for each in hashes)
        text = re.sub(rf"{tag}-src '[^;]*'; ", f"{tag}-src {sources}; ", text)
    return text


def pixels(path):
    """Width, height and the different rows of a PNG, which is what a blank one has not."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, colours = struct.unpack(">IIBB", data[16:26])
    packed, place = b"", 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            packed += data[place + 8 : place + 8 + length]
        place += length + 12
    stride = 1 + width * {2: 3, 6: 4}[colours] * depth // 8
    raw = zlib.decompress(packed)
    return width, height, {raw[row * stride : (row + 1) * stride] for row in range(height)}


def test_it_renders_and_nothing_complains(chromium, tmp_path):
    write_page(studies.sweep(), tmp_path / "page.html")
    picture = f"--screenshot={tmp_path / 'page.png'}"
    done = chromium(tmp_path / "page.html", picture, "--window-size=1280,2400")
    assert complaints(done) == []
    width, height, rows = pixels(tmp_path / "page.png")
    assert (width, height) == (1280, 2400)
    assert len(rows) > 500


def test_what_slips_into_the_page_is_neither_executed_nor_fetched(chromium, tmp_path):
    slipped = """<script>document.title = "executed"</script>
      <a id="a" href="javascript:document.title='followed'">x</a>
      <img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" onload="document.title = 'loaded'">
      <img src="picture.png"><style>body { display: none }</style>
      <iframe src="page.html"></iframe>"""
    (tmp_path / "picture.png").write_bytes(b"")
    (tmp_path / "page.html").write_text("<!doctype html>")
    text = with_script(page(studies.sweep(), command="x"), "a.click()")
    (tmp_path / "slipped.html").write_text(text.replace("</main>", f"{slipped}</main>"))
    done = chromium(tmp_path / "slipped.html", "--dump-dom", "--virtual-time-budget=5000")
    assert title(done).startswith("Time-to-train: ")
    refused = "\n".join(complaints(done))
    for directive in ("script-src", "style-src", "img-src", "default-src"):
        assert directive in refused


def test_the_check_sees_a_page_that_is_blank_or_wrong(chromium, tmp_path):
    file = tmp_path / "wrong.html"
    file.write_text("<!doctype html><script>nothing.here()</script>")
    done = chromium(file, f"--screenshot={tmp_path / 'page.png'}", "--window-size=600,400")
    assert any("nothing is not defined" in line for line in complaints(done))
    assert len(pixels(tmp_path / "page.png")[2]) < 10


@pytest.fixture
def framed(chromium, tmp_path):
    """What a script says of a page in a frame: a window cannot be as narrow as a phone."""

    def look(text, script, width):
        (tmp_path / "page.html").write_text(with_script(text, script))
        frame = tmp_path / "frame.html"
        frame.write_text(
            f'<!doctype html><title></title><iframe src="page.html" style="width:{width}px;'
            'height:3000px;border:0" onload="document.title = contentDocument.title"></iframe>'
        )
        return title(chromium(frame, "--dump-dom", "--virtual-time-budget=5000"))

    return look


@pytest.mark.parametrize("study", [studies.sweep, studies.hostile])
def test_nothing_is_cut_off_on_a_phone(framed, study):
    text = page(study(), command="x")
    assert framed(text, WIDTH, 400) == "400 of 400"
    assert framed(text, CUT, 400) == "nothing"


def test_a_desk_has_no_page_to_scroll_sideways(framed):
    assert framed(page(studies.sweep(), command="x"), WIDTH, 1200) == "1200 of 1200"


def test_the_checks_see_what_is_too_wide(framed):
    wide = page(studies.sweep(), command="x").replace("max-width: 40rem", "max-width: 1rem")
    assert framed(wide, CUT, 400) != "nothing"
    assert "max-width: 1rem" in wide
    wide = wide.replace("overflow-x: auto", "overflow-x: visible")
    assert int(framed(wide, WIDTH, 400).split()[0]) > 400


def test_a_click_sorts_by_value_and_the_unknown_come_last(chromium, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(with_script(page(studies.sweep(nodes=None), command="x"), CLICK))
    assert title(chromium(file, "--dump-dom", "--virtual-time-budget=5000")).split("|") == [
        "acme_512 acme_64 acme_8 other_8",
        "ascending: acme_512 acme_64 acme_8 other_8",
        "descending: other_8 acme_8 acme_64 acme_512",
        "ascending: acme_8 acme_64 acme_512 other_8",
        "descending: acme_512 acme_64 acme_8 other_8",
        "1",
        "BUTTON",
    ]


class _Parsed(HTMLParser):
    """Every tag with its attributes, and the text of the script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.script = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.script += data


def test_nothing_comes_from_elsewhere():
    text = page(studies.sweep(), command="x")
    for tag, attributes in _Parsed(text).tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert re.match("#|data:,", attributes.get(name) or "#"), (tag, name)
    assert not re.search(r"url\((?!#)|@import|fetch\(|import\(|XMLHttp", text)
    addresses = set(re.findall(r"https?://[^\s\"'<]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_it_is_a_document_that_can_be_read_aloud():
    parsed = _Parsed(page(studies.sweep(), command="ttt report runs"))
    tags = dict(parsed.tags)
    assert tags["html"] == {"lang": "en"}
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        parsed.tags
    )
    assert all(each.get("scope") == "col" for tag, each in parsed.tags if tag == "th")
    assert all(each.get("role") == "img" and each.get("aria-label")
               for tag, each in parsed.tags if tag == "svg")  # fmt: skip
    identifiers = [each["id"] for _, each in parsed.tags if "id" in each]
    assert len(identifiers) == len(set(identifiers))
    targets = {each["href"][1:] for tag, each in parsed.tags if tag == "a"}
    assert targets <= set(identifiers)


def test_it_says_what_a_study_says():
    text = page(studies.sweep(), command="ttt report runs --html page.html")
    for said in (
        "12 runs of 4 experiments",
        "0.680 min on 512 x H100 (Acme), the fastest of 4.",
        "23% of the ideal",
        "0.663 to 0.697",
        "evaluated every (min)",
        "The 95% interval is that of the score over seeds",
        "results/broken",
        "is no MLPerf log",
        "ttt report runs --html page.html",
        "MLPerf-style, not an MLPerf benchmark",
    ):
        assert said in text, said
    assert "±" not in text


def test_every_run_is_in_a_table():
    groups = studies.runs("a"), studies.runs("b", accelerators=64)
    failed = studies.run("b", 9, accelerators=64, status="died", reason="rank 3 SIGKILL",
                         time_to_train_s=None, skipped_samples=2)  # fmt: skip
    text = page(studies.of(groups[0], [*groups[1], failed]), command="x")
    _, table = text.split('<table id="seeds-', 1)
    rows = re.findall(r'<tr role="row">\s*(<td.*?)</tr>', table.partition("</table>")[0], re.DOTALL)
    cells = [re.findall("<span>(.*?)</span>", row) for row in rows]
    assert [row[:3] for row in cells[:3]] == [
        ["8 accelerators", str(seed), "success"] for seed in (1, 2, 3)
    ]
    assert cells[-1][1:3] == ["9", "died"]
    assert {"2", "rank 3 SIGKILL", "-"} <= set(cells[-1])
    assert len(cells) == 7


def test_many_runs_are_folded_away():
    few, many = (page(studies.of(studies.runs("a", count=n)), command="x") for n in (40, 41))
    assert '<details class="runs" open>' in few
    assert '<details class="runs">' in many


def test_a_curve_says_whose_it_is():
    text = page(studies.sweep(), command="x")
    told = re.findall('class="curve"><title>(.*?)</title>', text)
    assert len(told) == 12
    assert "64 x H100, seed 2, top1 0.7590 at 1.70 min" in told
    [alone] = [page(studies.of([studies.run("a", 5, metric="<b>")]), command="x")]
    assert 'class="curve"><title>seed 5, &lt;b&gt; 0.7590 at 10.0 min</title>' in alone


def test_an_experiment_has_one_name_in_every_table():
    """Rows of the hardware table are in the order of their time, which others are not."""
    unknown = {"system": None, "submitter": None, "path": studies.NOWHERE}
    slow, fast = studies.runs("a", 900.0, **unknown), studies.runs("b", 100.0, **unknown)
    for run in (*slow, *fast):
        object.__setattr__(run, "path", run.path.with_name(f"{run.digest}_{run.seed}"))
    text = page(studies.of(slow, fast), command="x")
    tables = re.findall(r'<table id="(\w+)[^>]*>(.*?)</table>', text, re.DOTALL)
    ranks = {
        name: list(dict.fromkeys(re.findall(r"8 accelerators \(\d\)", table)))
        for name, table in tables
    }
    assert set(ranks) == {"results", "stability", "seeds", "hardware"}
    assert set(map(tuple, ranks.values())) == {("8 accelerators (2)", "8 accelerators (1)")}


def test_attempts_that_never_started_are_folded_away():
    nothing = {"time_to_train_s": None, "elapsed_s": None, "evaluations": (), "blocks": ()}
    reason = "rank 0 on n1: no GPU"
    failed = studies.run("c", 1, status="died", reason=reason, began=False, **nothing)
    text = page(studies.of(studies.runs("a"), [failed]), command="x")
    section = text[text.index('<details id="attempts">') :]
    assert "<summary>1 run that never started</summary>" in section
    assert "rank 0 on n1: no GPU" in section
    assert "no GPU" not in text[: text.index('<details id="attempts">')]
    assert "3 runs of 1 experiment; 1 run never started" in text
    alone = page(studies.of([failed]), command="x")  # then it is what a reader asks about
    assert 'id="attempts"' not in alone
    assert "no GPU" in alone


def test_what_a_log_says_is_text():
    text = page(studies.hostile(), command=studies.HOSTILE)
    text.encode()
    clean = page(studies.sweep(), command="x")
    assert text.count("<script") == clean.count("<script") == 1
    assert "&lt;script&gt;alert" in text
    assert "\x1b" not in text
    assert "alert" not in _Parsed(text).script


def test_nothing_to_report_is_a_page(tmp_path):
    write_page(studies.of(), tmp_path / "page.html")
    assert "0 runs of 0 experiments" in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_wrong_use(tmp_path):
    with pytest.raises(ConfigError, match="--html"):
        write_page(studies.of(), tmp_path / "no" / "page.html")


def test_jinja_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"jinja2.*time-to-train\[report\]"):
        page(studies.of(), command="x")
