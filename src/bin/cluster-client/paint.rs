//! The cells of a table: text, time and colour. Widths are those on a screen, where some characters take two columns
//! and combining ones none.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use cluster_client::Printable;
use unicode_width::UnicodeWidthStr as _;

use crate::time::measured;

/// The colours of marks and single words. They can be read on a light and on a dark background, unlike yellow or blue.
/// Sentences have the colour of the terminal's text.
const GOOD: AnsiColor = AnsiColor::Green;
const BAD: AnsiColor = AnsiColor::Red;
pub(crate) const UNSURE: AnsiColor = AnsiColor::Magenta;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    Plain,
    Good,
    Unsure,
    Bad,
}

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    /// The text without its time. Cells of equal text are folded.
    pub(crate) text: String,
    pub(crate) tone: Tone,
    time: Option<Duration>,
    is_bracketed: bool,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Cell { text: text.into(), tone, time: None, is_bracketed: false }
    }

    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Cell::new(text, Tone::Plain)
    }

    pub(crate) fn empty() -> Self {
        Cell::plain("")
    }

    pub(crate) fn in_tone(self, tone: Tone) -> Self {
        Cell { tone, ..self }
    }

    /// Adds a time: `created 41 ms`.
    pub(crate) fn timed(self, time: Duration) -> Self {
        Cell { time: Some(time), ..self }
    }

    /// Adds a time in brackets: `503, 3 tries (3.2 s)`.
    pub(crate) fn bracketed(self, time: Duration) -> Self {
        Cell { time: Some(time), is_bracketed: true, ..self }
    }

    /// Returns one cell for several of equal text, with the shortest and the longest time.
    pub(crate) fn folded<'a>(mut cells: impl Iterator<Item = &'a Cell> + Clone) -> Cell {
        let times = cells.clone().filter_map(|cell| cell.time);
        let (shortest, longest) = (times.clone().min(), times.max());
        let Some(mut folded) = cells.next().cloned() else { return Cell::empty() };
        if let (Some(shortest), Some(longest)) = (shortest, longest) {
            let (from, to) = (measured(shortest), measured(longest));
            let range = if from == to { from } else { format!("{from} to {to}") };
            folded = Cell { text: folded.with(&range), time: None, ..folded };
        }
        folded
    }

    pub(crate) fn width(&self) -> usize {
        width_of(&self.shown())
    }

    /// Returns the painted cell, padded to this width.
    pub(crate) fn padded(&self, width: usize) -> String {
        let shown = self.shown();
        let room = width.saturating_sub(width_of(&shown));
        format!("{}{:room$}", painted(&shown, self.tone), "")
    }

    pub(crate) fn mark(&self) -> String {
        let mark = match self.tone {
            Tone::Good => "✓ ",
            Tone::Bad => "✗ ",
            Tone::Unsure => "? ",
            Tone::Plain => "- ",
        };
        painted(mark, self.tone)
    }

    fn shown(&self) -> String {
        self.time.map_or_else(|| self.text.clone(), |time| self.with(&measured(time)))
    }

    fn with(&self, time: &str) -> String {
        if self.is_bracketed { format!("{} ({time})", self.text) } else { format!("{} {time}", self.text) }
    }
}

pub(crate) fn widest<'a>(cells: impl Iterator<Item = &'a Cell>) -> usize {
    cells.map(Cell::width).max().unwrap_or(0)
}

/// Returns the number of columns of text on a screen, after escaping it.
pub(crate) fn width_of(text: &str) -> usize {
    Printable::new(text).to_string().width()
}

/// Breaks text between words, into lines of at most this width. A longer word has a line of its own.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width_of(line) + 1 + width_of(word) <= columns => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Escapes text and adds its colour.
pub(crate) fn painted(text: &str, tone: Tone) -> String {
    let text = Printable::new(text);
    let color = match tone {
        Tone::Plain => return text.to_string(),
        Tone::Good => GOOD,
        Tone::Bad => BAD,
        Tone::Unsure => UNSURE,
    };
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}

/// Escapes text and makes it bold, in the colour of the terminal's text.
pub(crate) fn emphasized(text: &str) -> String {
    let style = Style::new().bold();
    format!("{style}{}{style:#}", Printable::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_combining_characters_are_padded_by_their_columns() {
        for (text, columns) in [("node", 4), ("日本", 4), ("e\u{301}t", 2), ("a\u{200b}", 9), ("", 0)] {
            assert_eq!(width_of(text), columns, "{text:?}");
            let padded = Cell::plain(text).padded(10);
            assert_eq!(width_of(&padded), 10, "{padded:?}");
        }
    }

    #[test]
    fn folded_cell_has_the_range_of_the_times() {
        let timed = |ms: &[u64]| {
            let cells: Vec<Cell> =
                ms.iter().map(|ms| Cell::plain("created").timed(Duration::from_millis(*ms))).collect();
            Cell::folded(cells.iter()).text
        };
        assert_eq!(timed(&[12, 98, 40]), "created 12 ms to 98 ms");
        assert_eq!(timed(&[12, 12]), "created 12 ms");
        let tries = [Cell::plain("503, 3 tries").bracketed(Duration::from_secs(3)), Cell::plain("503, 3 tries")];
        assert_eq!(Cell::folded(tries.iter()).text, "503, 3 tries (3.0 s)");
    }

    #[test]
    fn text_is_broken_between_words_only() {
        let text = "not created: 日本 answered 403. Nothing was changed.";
        assert_eq!(wrapped(text, 100), [text]);
        assert_eq!(wrapped(text, 26), ["not created: 日本 answered", "403. Nothing was changed."]);
        assert_eq!(wrapped(text, 25)[0], "not created: 日本");
        assert_eq!(wrapped("a-very-long-word is  one", 4), ["a-very-long-word", "is ", "one"]);
    }

    /// Returns the contrast of a colour with black or white, from 1 to 21, as defined by WCAG 2.
    fn contrast(rgb: u32, background: f64) -> f64 {
        let channel = |shift: u32| {
            let value = f64::from(rgb >> shift & 0xff) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let luminance = 0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0);
        let (dark, light) = if luminance < background { (luminance, background) } else { (background, luminance) };
        (light + 0.05) / (dark + 0.05)
    }

    /// The palettes are the defaults of the programs. `AnsiColor` gives the place in them.
    #[test]
    #[expect(clippy::unreadable_literal, reason = "a colour has two digits each of red, green and blue")]
    fn colours_can_be_read_on_black_and_on_white() {
        const PALETTES: [(&str, [u32; 8]); 5] = [
            ("xterm", [0, 0xcd0000, 0x00cd00, 0xcdcd00, 0x0000ee, 0xcd00cd, 0x00cdcd, 0xe5e5e5]),
            ("VGA", [0, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa]),
            ("Windows", [0, 0xc50f1f, 0x13a10e, 0xc19c00, 0x0037da, 0x881798, 0x3a96dd, 0xcccccc]),
            ("macOS", [0, 0x990000, 0x00a600, 0x999900, 0x0000b2, 0xb200b2, 0x00a6b2, 0xbfbfbf]),
            ("GNOME", [0, 0xc01c28, 0x26a269, 0xa2734c, 0x12488b, 0xa347ba, 0x2aa1b3, 0xd0cfcc]),
        ];
        for (palette, colors) in PALETTES {
            for color in [GOOD, BAD, UNSURE] {
                for background in [0.0, 1.0] {
                    let contrast = contrast(colors[color as usize], background);
                    assert!(contrast > 2.1, "{color:?} of {palette} on {background}: {contrast}");
                }
            }
        }
        assert!((contrast(0xffffff, 0.0) - 21.0).abs() < 1e-9);
    }
}
