//! `--plot`: a bar for each case, beside the line of the copy.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontStyle, IntoFont as _, RGBColor, ShapeStyle, TextStyle, WHITE};

use super::compare::Comparison;
use super::report::{Outcome, Report, Row};
use super::table::time;
use crate::failure::Failure;

/// Sizes in pixels.
const MARGIN: i32 = 24;
const HEAD: i32 = 108;
const FOOT: i32 = 40;
const ROW: i32 = 24;
const BAR: i32 = 14;
/// Between the bars of two norms.
const GAP: i32 = 10;
/// The longest bar, and what stands beside it: its number, and at the edge the time.
const LONGEST: i32 = 560;
const NUMBER: i32 = 52;
const TIME: i32 = 80;
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
pub(crate) fn svg(report: &Report, description: &str, comparison: Option<&Comparison>) -> Result<String, Failure> {
    let places = places(&report.cases);
    let bottom = places.last().map_or(HEAD, |last| last + ROW);
    let widest = |label: &dyn Fn(&Row) -> String| {
        report.cases.iter().map(|row| label(row).chars().count() as i32 * LETTER).max().unwrap_or_default()
    };
    // Below the words of the head, which are about as long.
    let left = (MARGIN + widest(&Row::title) + 2 * GAP + widest(&label) + GAP).max(200);
    let width = left + LONGEST + NUMBER + TIME + MARGIN;
    let mut text = String::new();
    {
        let size = (width as u32, (bottom + FOOT) as u32);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        Plot { report, comparison, scale: Scale::of(report, comparison, left), places, width, bottom }
            .draw(&area, description)
            .and_then(|()| area.present())
            .map_err(|error| Failure::Failed(format!("the plot cannot be drawn: {error}")))?;
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

/// The top of every row.
fn places(rows: &[Row]) -> Vec<i32> {
    let mut next = HEAD + GAP;
    let mut before: Option<String> = None;
    rows.iter()
        .map(|row| {
            let title = row.title();
            if before.as_ref().is_some_and(|before| *before != title) {
                next += GAP;
            }
            before = Some(title);
            let place = next;
            next += ROW;
            place
        })
        .collect()
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
        (0..).map(move |mark| f64::from(mark) * step).take_while(move |&mark| mark <= most)
    }
}

struct Plot<'a> {
    report: &'a Report,
    comparison: Option<&'a Comparison>,
    scale: Scale,
    places: Vec<i32>,
    width: i32,
    bottom: i32,
}

impl Plot<'_> {
    fn draw(&self, area: &Area<'_>, description: &str) -> Drawn<'_> {
        area.fill(&WHITE)?;
        self.head(area, description)?;
        self.axis(area)?;
        let mut before: Option<String> = None;
        for (row, &top) in self.report.cases.iter().zip(&self.places) {
            let title = row.title();
            if before.as_ref() != Some(&title) {
                write(area, &title, (MARGIN, top + ROW / 2), text(15, INK, HPos::Left))?;
            }
            before = Some(title);
            self.row(area, row, top)?;
        }
        // Over the bars.
        let copy = self.scale.x(1.0);
        let line = ShapeStyle::from(INK).stroke_width(2);
        area.draw(&PathElement::new([(copy, HEAD), (copy, self.bottom)], line))
    }

    fn head(&self, area: &Area<'_>, description: &str) -> Drawn<'_> {
        let title = "Speed of each norm, relative to copying a tensor of its size";
        write(area, title, (MARGIN, MARGIN), text(22, INK, HPos::Left).with_bold())?;
        write(area, description, (MARGIN, MARGIN + 26), text(15, FAINT, HPos::Left))?;
        let legend = "bytes moved a second, over those of the fastest copy kernel on this adapter; longer is better";
        write(area, legend, (MARGIN, MARGIN + 46), text(15, FAINT, HPos::Left))?;
        if self.comparison.is_some() {
            let y = MARGIN + 46;
            area.draw(&mark(self.width - MARGIN - 118, y - 7, y + 7))?;
            write(area, "the run before", (self.width - MARGIN, y), text(15, FAINT, HPos::Right))?;
        }
        write(area, "time", (self.width - MARGIN, HEAD - 10), text(14, FAINT, HPos::Right))
    }

    fn axis(&self, area: &Area<'_>) -> Drawn<'_> {
        for mark in self.scale.marks() {
            let x = self.scale.x(mark);
            area.draw(&PathElement::new([(x, HEAD), (x, self.bottom)], GRID.stroke_width(1)))?;
            let label = if mark == 1.0 { "1 (copy)".to_owned() } else { mark.to_string() };
            let style = text(14, if mark == 1.0 { INK } else { FAINT }, HPos::Center);
            write(area, &label, (x, HEAD - 10), style.clone())?;
            write(area, &label, (x, self.bottom + 14), style)?;
        }
        Ok(())
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
                write(area, &time(speed.seconds), (self.width - MARGIN, middle), text(15, INK, HPos::Right))?;
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
