//! Plots without a library: a few lines over two axes, readable on light and dark pages.

use std::fmt::Write as _;

use crate::results::{Line, Plot, number};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 55.0;
/// Distinguishable with colour vision deficiency (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// One axis: maps values to positions.
#[derive(Debug, Clone, Copy)]
struct Axis {
    log: bool,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, log: bool, start: f64, end: f64) -> Self {
        let values = values.filter(|value| value.is_finite() && (!log || *value > 0.0));
        let (mut from, mut to) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if !from.is_finite() {
            (from, to) = (1.0, 10.0);
        }
        if log {
            from = 10_f64.powf(from.log10().floor());
            to = 10_f64.powf(to.log10().ceil()).max(from * 10.0);
        } else {
            from = from.min(0.0);
            let step = step(to - from);
            to = ((to / step).ceil() * step).max(from + step);
        }
        Self { log, from, to, start, end }
    }

    fn position(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.from).log10() - self.from.log10()) / (self.to.log10() - self.from.log10())
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share * (self.end - self.start)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut tick = self.from;
        let step = step(self.to - self.from);
        while tick <= self.to * 1.000_001 && ticks.len() < 20 {
            ticks.push(tick);
            tick = if self.log { tick * 10.0 } else { tick + step };
        }
        ticks
    }
}

/// A round step that gives about five ticks.
fn step(range: f64) -> f64 {
    let rough = (range / 5.0).max(f64::MIN_POSITIVE);
    let size = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * size >= rough).unwrap_or(10.0);
    factor * size
}

/// The plot as an SVG document.
pub fn draw(plot: &Plot) -> String {
    let points = || plot.lines.iter().flat_map(|line| line.points.iter());
    let x = Axis::over(points().map(|(x, _)| *x), plot.log.0, LEFT, WIDTH - RIGHT);
    let y = Axis::over(points().map(|(_, y)| *y), plot.log.1, HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    text(&mut svg, (middle, 20.0), "middle\" font-weight=\"bold", &plot.title);
    text(&mut svg, (middle, HEIGHT - 12.0), "middle", &plot.x);
    let centre = f64::midpoint(TOP, HEIGHT - BOTTOM);
    let turned = format!("middle\" transform=\"rotate(-90 16 {centre})");
    text(&mut svg, (16.0, centre), &turned, &plot.y);
    for tick in x.ticks() {
        let position = x.position(tick);
        rule(&mut svg, (position, TOP), (position, HEIGHT - BOTTOM));
        text(&mut svg, (position, HEIGHT - BOTTOM + 18.0), "middle", &number(tick));
    }
    for tick in y.ticks() {
        let position = y.position(tick);
        rule(&mut svg, (LEFT, position), (WIDTH - RIGHT, position));
        text(&mut svg, (LEFT - 8.0, position + 4.0), "end", &number(tick));
    }
    for (index, line) in plot.lines.iter().enumerate() {
        draw_line(&mut svg, line, index, x, y);
    }
    svg + "</svg>\n"
}

#[expect(clippy::cast_precision_loss, reason = "a handful of lines")]
fn draw_line(svg: &mut String, line: &Line, index: usize, x: Axis, y: Axis) {
    let colour = COLOURS[index % COLOURS.len()];
    let places: Vec<(f64, f64)> =
        line.points.iter().map(|(left, up)| (x.position(*left), y.position(*up))).collect();
    let path: Vec<String> = places.iter().map(|(left, up)| format!("{left:.1},{up:.1}")).collect();
    // Writing to a String cannot fail.
    let _written = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    if places.len() <= 20 {
        for (left, up) in places {
            let _written =
                writeln!(svg, "<circle cx=\"{left:.1}\" cy=\"{up:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
    let up = TOP + 10.0 + 18.0 * index as f64;
    let left = WIDTH - RIGHT + 12.0;
    let _written =
        writeln!(svg, "<rect x=\"{left}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>", up - 5.0);
    text(svg, (left + 20.0, up), "start", &line.name);
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _written = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, position: (f64, f64), anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _written = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{words}</text>",
        position.0, position.1
    );
}
