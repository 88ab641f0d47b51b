//! SVG of the two figures. The picture has a background of its own, so it is readable wherever it is embedded,
//! and follows the reader's light or dark mode.

use std::fmt::Write;

/// The width of a key in a legend.
pub(super) const KEY_WIDTH: f64 = 34.0;

/// The look of one client in every figure: a class of the style sheet, and a mark that tells it apart without colour.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) class: &'static str,
    mark: Mark,
}

#[derive(Clone, Copy)]
enum Mark {
    Dot,
    Ring,
    Square,
    Hollow,
    Diamond,
    Lozenge,
    Hourglass,
    Up,
    Down,
    Plus,
    Cross,
}

pub(super) fn look(client: &str) -> Look {
    let (class, mark) = match client {
        "ours" => ("ours", Mark::Dot),
        "ours-default" => ("ours-default", Mark::Ring),
        "ours-journal" => ("ours-journal", Mark::Lozenge),
        "reqwest-one" => ("reference", Mark::Square),
        "reqwest-one-chained" => ("chained", Mark::Hourglass),
        "reqwest-many" => ("many", Mark::Hollow),
        "hyper-one" => ("hyper", Mark::Diamond),
        "go" => ("go", Mark::Up),
        "python-sequential" => ("sequential", Mark::Down),
        "python-gathered" => ("gathered", Mark::Plus),
        _ => ("floor", Mark::Cross),
    };
    Look { class, mark }
}

/// Every colour twice: for light backgrounds, and for dark ones.
const COLOURS: [(&str, &str, &str); 15] = [
    (".back{fill:", "#ffffff", "#161b22"),
    (".ink{fill:", "#1f2328", "#f0f3f6"),
    (".soft{fill:", "#59636e", "#9aa4ae"),
    (".grid{stroke:", "#dfe3e8", "#30363d"),
    (".ours{color:", "#d6246e", "#ff6ba8"),
    (".ours-default{color:", "#d6246e", "#ff6ba8"),
    (".ours-journal{color:", "#d6246e", "#ff6ba8"),
    (".reference{color:", "#1f2328", "#f0f3f6"),
    (".chained{color:", "#1f2328", "#f0f3f6"),
    (".many{color:", "#0969da", "#58a6ff"),
    (".hyper{color:", "#7a3fd0", "#bf96ff"),
    (".go{color:", "#0a8a8a", "#3cc8ce"),
    (".sequential{color:", "#9a6700", "#d4a72c"),
    (".gathered{color:", "#bc4c00", "#f0883e"),
    (".floor{color:", "#818b96", "#818b96"),
];

const SHAPES: &str = "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px}\
    .title{font-size:15px;font-weight:600}.middle{text-anchor:middle}.end{text-anchor:end}\
    .grid{stroke-width:1}.series{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}\
    .series.ours,.series.ours-default{stroke-width:3}.series.ours-default{stroke-dasharray:7 4}\
    .series.ours-journal,.series.chained,.series.floor{stroke-dasharray:2 4}.solid{fill:currentColor}\
    .open{fill:none;stroke:currentColor;stroke-width:1.8}";

pub(super) struct Picture {
    width: f64,
    height: f64,
    body: String,
}

impl Picture {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{}</text>"#, escape(text));
    }

    /// Read from below to above, for the label of an upright axis.
    pub(super) fn upright_text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let text = escape(text);
        _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" class="{class}" transform="rotate(-90 {x:.1} {y:.1})">{text}</text>"#
        );
    }

    pub(super) fn grid_line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        _ = writeln!(self.body, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="grid"/>"#);
    }

    pub(super) fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), look: Look) {
        let class = look.class;
        _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" class="solid {class}"/>"#
        );
    }

    /// A line through the points, and a mark on each.
    pub(super) fn series(&mut self, points: &[(f64, f64)], look: Look) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        _ = writeln!(self.body, r#"<polyline points="{}" class="series {}"/>"#, path.join(" "), look.class);
        for &point in points {
            self.mark(point, look);
        }
    }

    /// The look of a series, for a legend.
    pub(super) fn key(&mut self, x: f64, y: f64, look: Look) {
        let (end, class) = (x + KEY_WIDTH, look.class);
        _ = writeln!(self.body, r#"<polyline points="{x:.1},{y:.1} {end:.1},{y:.1}" class="series {class}"/>"#);
        self.mark((x + KEY_WIDTH / 2.0, y), look);
    }

    fn mark(&mut self, (x, y): (f64, f64), look: Look) {
        let class = look.class;
        let (style, path) = match look.mark {
            Mark::Dot => ("solid", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z"),
            Mark::Ring => ("open", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z"),
            Mark::Square => ("solid", "M-4 -4h8v8h-8z"),
            Mark::Hollow => ("open", "M-4 -4h8v8h-8z"),
            Mark::Diamond => ("solid", "M0 -5.5l5 5.5l-5 5.5l-5 -5.5z"),
            Mark::Lozenge => ("open", "M0 -5.5l5 5.5l-5 5.5l-5 -5.5z"),
            Mark::Hourglass => ("solid", "M-4 -5h8l-8 10h8z"),
            Mark::Up => ("solid", "M0 -5l5 9h-10z"),
            Mark::Down => ("solid", "M0 5l5 -9h-10z"),
            Mark::Plus => ("open", "M-5 0h10M0 -5v10"),
            Mark::Cross => ("open", "M-4 -4l8 8M-4 4l8 -8"),
        };
        _ = writeln!(self.body, r#"<path transform="translate({x:.1} {y:.1})" d="{path}" class="{style} {class}"/>"#);
    }

    /// The whole file. `label` is for those who cannot see it.
    pub(super) fn finish(self, label: &str) -> String {
        let sheet = |pick: fn(&(&str, &'static str, &'static str)) -> &'static str| -> String {
            COLOURS.iter().flat_map(|colour| [colour.0, pick(colour), "}"]).collect()
        };
        let Self { width, height, body } = self;
        let (light, dark, label) = (sheet(|colour| colour.1), sheet(|colour| colour.2), escape(label));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\" aria-label=\"{label}\">\n\
             <style>{SHAPES}{light}@media (prefers-color-scheme:dark){{{dark}}}</style>\n\
             <rect width=\"100%\" height=\"100%\" rx=\"8\" class=\"back\"/>\n{body}</svg>\n"
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut picture = Picture::new(10.0, 10.0);
        picture.text(0.0, 0.0, "ink", "a < b & c");
        assert!(picture.finish("\"x\"").contains("a &lt; b &amp; c"));
    }
}
