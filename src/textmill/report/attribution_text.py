"""What each word adds to a score, on a terminal: in colours, or with numbers where there are none.

The colours are blue and vermilion of Okabe and Ito's palette (2008), which people with any kind of
colour vision can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.style import Style
from rich.text import Text

from textmill.explaining.record import Attribution
from textmill.explaining.words import Word
from textmill.legible import legible
from textmill.report.attributions import AttributionView, Stretch, strongest

_Colour = tuple[int, int, int]

_TOWARDS: _Colour = (0, 114, 178)
_AGAINST: _Colour = (213, 94, 0)
_WHITE: _Colour = (255, 255, 255)

# Weaker words, as a share of the strongest, are left without a colour or number.
_WEAK = 0.1
_PALEST = 0.2
_MOST_WORDS = 5
# On the full blue, white letters can be read better than black ones.
_DARK_BLUE = 0.85


def print_attribution(attribution: Attribution, console: Console | None = None) -> None:
    """Prints an attribution.

    Args:
        attribution: The attribution.
        console: Where to; standard output if None.
    """
    console = console or Console(highlight=False, emoji=False, soft_wrap=True)
    coloured = console.is_terminal and not console.no_color and console.color_system is not None
    view = AttributionView.of(attribution)
    console.print(Text(f"{legible(attribution.label)}: {view.score}", style="bold"))
    for stretches in view.texts:
        console.print()
        console.print(_text(stretches, coloured=coloured))
    console.print()
    for word in strongest(attribution.words)[:_MOST_WORDS]:
        console.print(Text(f"{word.contribution:+7.2f}  {legible(word.text)}"))
    console.print()
    console.print(_legend(view, coloured=coloured))
    console.print(Text(view.check))
    console.print()


def _text(stretches: Sequence[Stretch], *, coloured: bool) -> Text:
    text = Text()
    for stretch in stretches:
        if stretch.unseen:
            text.append_text(_unseen(stretch, coloured=coloured))
        elif stretch.word is None or abs(stretch.strength) < _WEAK:
            text.append(legible(stretch.text))
        elif coloured:
            text.append(legible(stretch.text), _style(stretch.strength))
        else:
            text.append(f"{legible(stretch.text)}[{_number(stretch.word)}]")
    return text


def _unseen(stretch: Stretch, *, coloured: bool) -> Text:
    more = f"... ({stretch.left_out:,} more characters)" if stretch.left_out else ""
    shown = f"{legible(stretch.text)}{more}"
    return Text(shown, style="dim strike") if coloured else Text(f"{{{shown}}}")


def _legend(view: AttributionView, *, coloured: bool) -> Text:
    label = legible(view.attribution.label)
    if coloured:
        legend = Text.assemble(
            (f" towards {label} ", _style(1.0)), " ", (" away from it ", _style(-1.0))
        )
        unseen = Text.assemble(" ", ("not seen by the model", "dim strike"))
    else:
        legend = Text(f"[+] towards {label}, [-] away from it")
        unseen = Text(", {} not seen by the model")
    return legend.append_text(unseen) if view.unseen else legend


def _style(strength: float) -> Style:
    """Letters on a colour that is the fuller, the stronger the word."""
    share = _PALEST + (1 - _PALEST) * abs(strength)
    full = _TOWARDS if strength > 0 else _AGAINST
    ground = [round(white + share * (end - white)) for white, end in zip(_WHITE, full, strict=True)]
    letters = "white" if strength > 0 and share > _DARK_BLUE else "black"
    return Style.parse(f"{letters} on rgb({','.join(map(str, ground))})")


def _number(word: Word) -> str:
    return f"{word.contribution:+.2f}"
