//! A bar for each case, beside the line of the copy.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontStyle, IntoFont as _, RGBColor, ShapeStyle, TextStyle, WHITE};
use wgpu_norm::sample::time;

use super::report::{Outcome, Report, Row};
use super::{Comparison, Trouble};

/// Sizes in pixels.
const MARGIN: i32 = 24;
const HEAD: i32 = 96;
const FOOT: i32 = 8;
/// Above and below the bars of a panel.
const PANEL_HEAD: i32 = 44;
const PANEL_FOOT: i32 = 44;
const ROW: i32 = 24;
const BAR: i32 = 14;
/// Between the bars of two norms.
const GAP: i32 = 10;
/// The longest bar, and what stands beside it: its number, and at the edge the time, alone and over the copy's.
const LONGEST: i32 = 560;
const NUMBER: i32 = 52;
const TIME: i32 = 80;
const TIMES: i32 = 100;
/// The widest letter of labels is not wider; fonts differ.
const LETTER: i32 = 9;

const BLUE: RGBColor = RGBColor(0x2f, 0x6f, 0xb5);
const OLD: RGBColor = RGBColor(0xe0, 0x8a, 0x1e);
const RED: RGBColor = RGBColor(0xb3, 0x26, 0x1e);
const INK: RGBColor = RGBColor(0x20, 0x24, 0x28);
const FAINT: RGBColor = RGBColor(0x6b, 0x72, 0x7a);
const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xe9);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The SVG.
pub(crate) fn svg(report: &Report, description: &str, comparison: Option<&Comparison>) -> Result<String, Trouble> {
    let mut bottom = HEAD;
    let panels: Vec<Panel<'_>> = report
        .directions()
        .into_iter()
        .map(|(heading, rows)| {
            let panel = Panel::new(heading, rows, bottom);
            bottom = panel.bottom + PANEL_FOOT;
            panel
        })
        .collect();
    let widest = |label: &dyn Fn(&Row) -> String| {
        report.cases.iter().map(|row| label(row).chars().count() as i32 * LETTER).max().unwrap_or_default()
    };
    // Below the words of the head, which are about as long.
    let left = (MARGIN + widest(&|row| row.norm.clone()) + 2 * GAP + widest(&label) + GAP).max(200);
    let width = left + LONGEST + NUMBER + TIME + TIMES + MARGIN;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width as u32, (bottom + FOOT) as u32)).into_drawing_area();
        let of = report.short().map_or_else(String::new, |short| format!(" of {short}"));
        Plot { comparison, scale: Scale::of(report, comparison, left), width, of }
            .draw(&area, description, &panels)
            .and_then(|()| area.present())
            .map_err(|error| Trouble::Plot { reason: error.to_string() })?;
    }
    Ok(text)
}

/// The shape, and what does not go without saying.
fn label(row: &Row) -> String {
    let mut label = row.shape.clone();
    if row.layout != "rows" {
        label.push_str(&format!(", {}", row.layout.replace('_', " ")));
    }
    if let Some(only) = row.only_gradient() {
        label.push_str(&format!(", {only} alone"));
    }
    label
}

/// The cases of one direction.
struct Panel<'a> {
    heading: &'static str,
    /// Each with its top, and with its norm where the one before is of another.
    rows: Vec<(&'a Row, i32, Option<&'a str>)>,
    /// Of the bars.
    top: i32,
    bottom: i32,
}

impl<'a> Panel<'a> {
    fn new(heading: &'static str, rows: Vec<&'a Row>, above: i32) -> Self {
        let top = above + PANEL_HEAD;
        let mut bottom = top;
        let mut before = None;
        let rows = rows
            .into_iter()
            .map(|row| {
                let title = (before != Some(row.norm.as_str())).then_some(row.norm.as_str());
                before = Some(&row.norm);
                let place = bottom + if title.is_some() { GAP } else { 0 };
                bottom = place + ROW;
                (row, place, title)
            })
            .collect();
        Self { heading, rows, top, bottom }
    }
}

/// From ratios to pixels.
struct Scale {
    left: i32,
    most: f64,
    step: f64,
}

impl Scale {
    fn of(report: &Report, comparison: Option<&Comparison>, left: i32) -> Self {
        let new = report.cases.iter().filter_map(|row| Some(row.speed()?.ratio_to_copy));
        let old = report.cases.iter().filter_map(|row| comparison?.ratio(row));
        let most = new.chain(old).fold(1.0, f64::max);
        // About five lines, at round numbers.
        let step = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0].into_iter().find(|step| most / step <= 6.0);
        let step = step.unwrap_or(most / 5.0);
        Self { left, most, step }
    }

    fn x(&self, ratio: f64) -> i32 {
        self.left + (ratio / self.most * f64::from(LONGEST)).round() as i32
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        let (most, step) = (self.most, self.step);
        // That of the copy is always among them; where 0 would be too near to it, instead.
        let first = if step > 1.0 { 1.0 } else { 0.0 };
        let others = (1..).map(move |mark| f64::from(mark) * step).take_while(move |&mark| mark <= most);
        std::iter::once(first).chain(others)
    }
}

struct Plot<'a> {
    comparison: Option<&'a Comparison>,
    scale: Scale,
    width: i32,
    /// What tensors are of, after the title.
    of: String,
}

impl Plot<'_> {
    fn draw(&self, area: &Area<'_>, description: &str, panels: &[Panel<'_>]) -> Drawn<'_> {
        area.fill(&WHITE)?;
        self.head(area, description)?;
        for panel in panels {
            self.panel(area, panel)?;
        }
        Ok(())
    }

    fn head(&self, area: &Area<'_>, description: &str) -> Drawn<'_> {
        let title = format!("GB/s of each norm{}, over GB/s of a copy", self.of);
        write(area, &title, (MARGIN, MARGIN), text(22, INK, HPos::Left).with_bold())?;
        write(area, description, (MARGIN, MARGIN + 26), text(15, FAINT, HPos::Left))?;
        let legend = "a copy of a tensor of that size, the fastest there is here; 1 is as fast as memory allows, longer is better";
        write(area, legend, (MARGIN, MARGIN + 46), text(15, FAINT, HPos::Left))?;
        if self.comparison.is_some() {
            let y = MARGIN + 46;
            area.draw(&mark(self.width - MARGIN - 118, y - 7, y + 7))?;
            write(area, "the run before", (self.width - MARGIN, y), text(15, FAINT, HPos::Right))?;
        }
        Ok(())
    }

    fn panel(&self, area: &Area<'_>, panel: &Panel<'_>) -> Drawn<'_> {
        let above = panel.top - 10;
        write(area, panel.heading, (MARGIN, above), text(17, INK, HPos::Left).with_bold())?;
        write(area, "time", (self.width - MARGIN - TIMES, above), text(14, FAINT, HPos::Right))?;
        write(area, "time / copy's", (self.width - MARGIN, above), text(14, FAINT, HPos::Right))?;
        for mark in self.scale.marks() {
            let x = self.scale.x(mark);
            area.draw(&PathElement::new([(x, panel.top), (x, panel.bottom)], GRID.stroke_width(1)))?;
            let label = if mark == 1.0 { "1 (copy)".to_owned() } else { mark.to_string() };
            let style = text(14, if mark == 1.0 { INK } else { FAINT }, HPos::Center);
            write(area, &label, (x, above), style.clone())?;
            write(area, &label, (x, panel.bottom + 14), style)?;
        }
        for &(row, top, title) in &panel.rows {
            if let Some(title) = title {
                write(area, title, (MARGIN, top + ROW / 2), text(15, INK, HPos::Left))?;
            }
            self.row(area, row, top)?;
        }
        // Over the bars.
        let copy = self.scale.x(1.0);
        let line = ShapeStyle::from(INK).stroke_width(2);
        area.draw(&PathElement::new([(copy, panel.top), (copy, panel.bottom)], line))
    }

    fn row(&self, area: &Area<'_>, row: &Row, top: i32) -> Drawn<'_> {
        let middle = top + ROW / 2;
        let left = self.scale.x(0.0);
        write(area, &label(row), (left - GAP, middle), text(15, INK, HPos::Right))?;
        let (mut end, value, color) = match &row.outcome {
            Outcome::Timed(speed) => {
                let x = self.scale.x(speed.ratio_to_copy);
                // A pixel at least, so that every case has a bar.
                let corners = [(left, middle - BAR / 2), (x.max(left + 1), middle + BAR / 2)];
                area.draw(&Rectangle::new(corners, BLUE.filled()))?;
                let edge = self.width - MARGIN;
                write(area, &time(speed.seconds), (edge - TIMES, middle), text(15, INK, HPos::Right))?;
                write(area, &format!("{:.2}", speed.time_to_copy), (edge, middle), text(15, INK, HPos::Right))?;
                (x, format!("{:.2}", speed.ratio_to_copy), INK)
            }
            Outcome::Failed { .. } => (left, "failed".to_owned(), RED),
        };
        if let Some(old) = self.comparison.and_then(|comparison| comparison.ratio(row)) {
            let x = self.scale.x(old);
            area.draw(&mark(x, middle - BAR / 2 - 2, middle + BAR / 2 + 2))?;
            end = end.max(x);
        }
        // Beside the line of the copy, not across it.
        let copy = self.scale.x(1.0);
        if (end..end + NUMBER).contains(&copy) {
            end = end.max(copy);
        }
        write(area, &value, (end + 8, middle), text(15, color, HPos::Left))
    }
}

/// Where a ratio of the earlier run lies.
fn mark(x: i32, top: i32, bottom: i32) -> PathElement<(i32, i32)> {
    PathElement::new([(x, top), (x, bottom)], OLD.stroke_width(3))
}

fn text<'a>(size: i32, color: RGBColor, anchor: HPos) -> TextStyle<'a> {
    // The library takes a size for a line's height, of which the letters are this part.
    let font = ("sans-serif", f64::from(size) * 1.24 / 1.1).into_font();
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(anchor, VPos::Center) }
}

trait Bold {
    fn with_bold(self) -> Self;
}

impl Bold for TextStyle<'_> {
    fn with_bold(mut self) -> Self {
        self.font = self.font.style(FontStyle::Bold);
        self
    }
}

fn write<'a>(area: &Area<'_>, words: &str, at: (i32, i32), style: TextStyle<'_>) -> Drawn<'a> {
    area.draw_text(words, &style, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_among_the_marks() {
        for (most, step, want) in [(2.1, 0.5, vec![0.0, 0.5, 1.0, 1.5, 2.0]), (7.9, 2.0, vec![1.0, 2.0, 4.0, 6.0])] {
            assert_eq!(Scale { left: 0, most, step }.marks().collect::<Vec<_>>(), want);
        }
    }
}
