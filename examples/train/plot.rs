//! The loss curves as an SVG.

use std::error::Error;

use plotters::backend::SVGBackend;
use plotters::drawing::IntoDrawingArea as _;
use plotters::element::PathElement;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, IntoFont as _, RGBColor, TextStyle, WHITE};

use crate::Run;

const SIZE: (u32, u32) = (760, 420);
const LEFT: i32 = 64;
const RIGHT: i32 = 590;
const TOP: i32 = 76;
const BOTTOM: i32 = 366;

const COLORS: [RGBColor; 2] = [RGBColor(0x2f, 0x6f, 0xb5), RGBColor(0xe0, 0x8a, 0x1e)];
const INK: RGBColor = RGBColor(0x20, 0x24, 0x28);
const FAINT: RGBColor = RGBColor(0x6b, 0x72, 0x7a);
const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xe9);

/// Epochs to the right, losses up, by powers of ten.
struct Scale {
    epochs: usize,
    lowest: i32,
    highest: i32,
}

impl Scale {
    fn of(runs: &[Run]) -> Self {
        let losses = || runs.iter().flat_map(|run| run.epochs.iter().flat_map(|epoch| [epoch.training, epoch.unseen]));
        let power = |loss: f64| loss.max(1e-9).log10();
        let lowest = losses().map(power).fold(0.0, f64::min).floor() as i32;
        let highest = losses().map(power).fold(0.0, f64::max).ceil() as i32;
        let epochs = runs.iter().map(|run| run.epochs.len()).max().unwrap_or(1);
        Self { epochs, lowest, highest: highest.max(lowest + 1) }
    }

    fn x(&self, epoch: usize) -> i32 {
        LEFT + (f64::from(RIGHT - LEFT) * epoch as f64 / self.epochs as f64).round() as i32
    }

    fn y(&self, loss: f64) -> i32 {
        let part = (loss.max(1e-9).log10() - f64::from(self.lowest)) / f64::from(self.highest - self.lowest);
        BOTTOM - (part * f64::from(BOTTOM - TOP)).round() as i32
    }
}

pub fn svg(runs: &[Run]) -> Result<String, Box<dyn Error>> {
    let scale = Scale::of(runs);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let write = |words: &str, at, size, color, anchor| area.draw_text(words, &style(size, color, anchor), at);
        let line = |points: Vec<(i32, i32)>, color: RGBColor, width| {
            area.draw(&PathElement::new(points, color.stroke_width(width)))
        };
        area.fill(&WHITE)?;
        write("Cross-entropy on the handwritten digits, epoch by epoch", (LEFT, 26), 19, INK, HPos::Left)?;
        write("thick: while training; thin: on the images held out", (LEFT, 50), 14, FAINT, HPos::Left)?;
        for power in scale.lowest..=scale.highest {
            let y = scale.y(10f64.powi(power));
            line(vec![(LEFT, y), (RIGHT, y)], GRID, 1)?;
            write(&format!("{}", 10f64.powi(power)), (LEFT - 8, y), 14, FAINT, HPos::Right)?;
        }
        let step = [1, 2, 5, 10, 20, 50, 100].into_iter().find(|step| scale.epochs / step <= 8).unwrap_or(1000);
        for epoch in (0..=scale.epochs).step_by(step) {
            let x = scale.x(epoch);
            line(vec![(x, BOTTOM), (x, BOTTOM + 5)], FAINT, 1)?;
            write(&epoch.to_string(), (x, BOTTOM + 18), 14, FAINT, HPos::Center)?;
        }
        write("epochs", (RIGHT, BOTTOM + 38), 14, FAINT, HPos::Right)?;
        for (run, color) in runs.iter().zip(COLORS) {
            let points = |loss: fn(&crate::Epoch) -> f64| {
                (1..).zip(&run.epochs).map(|(epoch, losses)| (scale.x(epoch), scale.y(loss(losses)))).collect()
            };
            line(points(|epoch| epoch.training), color, 3)?;
            line(points(|epoch| epoch.unseen), color, 1)?;
        }
        // Beside the thin lines' ends, apart from each other.
        let mut ends: Vec<_> =
            runs.iter().zip(COLORS).filter_map(|(run, color)| Some((run, color, run.last()?))).collect();
        ends.sort_by(|one, other| other.2.unseen.total_cmp(&one.2.unseen));
        let mut free = TOP;
        for (run, color, last) in ends {
            let y = (scale.y(last.unseen) - 9).max(free);
            free = y + 46;
            write(&run.name, (RIGHT + 10, y), 15, color, HPos::Left)?;
            let accuracy = format!("{:.1} % right", 100.0 * last.accuracy);
            write(&accuracy, (RIGHT + 10, y + 19), 14, FAINT, HPos::Left)?;
        }
        area.present()?;
    }
    Ok(text)
}

fn style<'a>(size: i32, color: RGBColor, anchor: HPos) -> TextStyle<'a> {
    let font = ("sans-serif", f64::from(size) * 1.24 / 1.1).into_font();
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(anchor, VPos::Center) }
}
