//! The photograph before and after, each with the histogram of its channels.

use std::error::Error;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use wgpu_norm::ndarray::{Array3, ArrayView3, Axis, Ix3, s};
use wgpu_norm::{Engine, GroupNorm, Inputs, InstanceNorm, LayerNorm, Norm};

use crate::{lettering, on};

pub const LEGEND: &str = "  \
    Original      warm light: the histograms of red, green and blue below it lie apart, and each is narrow
  InstanceNorm  each channel by its own mean and deviation: the cast is gone and the contrast spread
  GroupNorm     with one group, all three by one mean and deviation: the contrast is spread, the cast stays
  LayerNorm     each pixel by its own three values: light and shadow are gone, only the order of colours is left
  The normalized ones are shown with 0 as middle grey and -2.5 and 2.5 as black and white.";

/// Black and white are this many standard deviations from the middle.
const SPAN: f32 = 2.5;
const GAP: usize = 12;
const TITLE: usize = 34;
const HISTOGRAM: usize = 80;
const LETTER_SCALE: usize = 2;
const PAPER: u8 = 250;
const INK: u8 = 40;

/// Normalizes the photograph and writes `before_after.png` to `dir`.
pub fn before_and_after(engine: &Engine, photo: &Array3<f32>, dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let batch = photo.view().insert_axis(Axis(0)).into_dyn();
    let shape = batch.shape();
    let norms: [(&str, Box<dyn Norm>); 3] = [
        ("InstanceNorm", Box::new(InstanceNorm::channels_last(shape)?)),
        ("GroupNorm", Box::new(GroupNorm::channels_last(shape, 1)?)),
        ("LayerNorm", Box::new(LayerNorm::new(shape, &shape[3..])?)),
    ];
    let mut panels = vec![("Original", photo.mapv(display))];
    for (name, norm) in norms {
        let y = engine.run_array_blocking(&*norm, Inputs::new(batch.view()))?.y;
        let y = y.index_axis_move(Axis(0), 0).into_dimensionality::<Ix3>()?;
        panels.push((name, y.mapv(|v| display(0.5 + v / (2.0 * SPAN)))));
    }
    fs::create_dir_all(dir).map_err(on(dir))?;
    let path = dir.join("before_after.png");
    write_png(&path, &compose(&panels))?;
    Ok(path)
}

/// 0 to 1 as 0 to 255; what lies outside is cut off.
fn display(v: f32) -> u8 {
    (v * 255.0).round().clamp(0.0, 255.0) as u8
}

/// The panels side by side: title, picture, histogram.
fn compose(panels: &[(&str, Array3<u8>)]) -> Array3<u8> {
    let (height, width) = panels.first().map_or((0, 0), |(_, image)| (image.dim().0, image.dim().1));
    let total = (TITLE + height + GAP + HISTOGRAM + GAP, GAP + panels.len() * (width + GAP), 3);
    let mut canvas = Array3::from_elem(total, PAPER);
    for (number, (title, image)) in panels.iter().enumerate() {
        let left = GAP + number * (width + GAP);
        letter(&mut canvas, title, left);
        let columns = left..left + width;
        canvas.slice_mut(s![TITLE..TITLE + height, columns.clone(), ..]).assign(image);
        let top = TITLE + height + GAP;
        canvas.slice_mut(s![top..top + HISTOGRAM, columns, ..]).assign(&histogram(image.view(), width));
    }
    canvas
}

fn letter(canvas: &mut Array3<u8>, text: &str, left: usize) {
    let top = (TITLE - lettering::HEIGHT * LETTER_SCALE) / 2;
    for (number, character) in text.chars().enumerate() {
        let start = left + number * (lettering::WIDTH + 1) * LETTER_SCALE;
        let glyph = lettering::glyph(character);
        for y in 0..lettering::HEIGHT * LETTER_SCALE {
            for x in 0..lettering::WIDTH * LETTER_SCALE {
                if glyph[y / LETTER_SCALE] >> (lettering::WIDTH - 1 - x / LETTER_SCALE) & 1 == 1 {
                    canvas.slice_mut(s![top + y, start + x, ..]).fill(INK);
                }
            }
        }
    }
}

/// Black to white from left to right. The three curves add up as light does: where all overlap it is white.
fn histogram(image: ArrayView3<'_, u8>, width: usize) -> Array3<u8> {
    let mut counts = vec![[0u32; 3]; width];
    for pixel in image.rows() {
        for (channel, &v) in pixel.iter().enumerate() {
            counts[usize::from(v) * width / 256][channel] += 1;
        }
    }
    let smooth = smoothed(&counts);
    // A peak of one panel is as high as that of another: it is where they lie that matters.
    let highest = smooth.iter().flatten().copied().fold(1.0, f32::max);
    Array3::from_shape_fn((HISTOGRAM, width, 3), |(y, x, channel)| {
        let height = smooth[x][channel] / highest * HISTOGRAM as f32;
        if (HISTOGRAM - y) as f32 <= height { 235 } else { INK }
    })
}

/// Spreading 8-bit values leaves gaps between them. An average over the neighbours closes them, and a second one takes
/// out the teeth that are left.
fn smoothed(counts: &[[u32; 3]]) -> Vec<[f32; 3]> {
    const REACH: usize = 4;
    let average = |values: &[[f32; 3]]| -> Vec<[f32; 3]> {
        let near = |x: usize| &values[x.saturating_sub(REACH)..(x + REACH + 1).min(values.len())];
        let mean = |near: &[[f32; 3]], channel| near.iter().map(|v| v[channel]).sum::<f32>() / near.len() as f32;
        (0..values.len()).map(|x| std::array::from_fn(|channel| mean(near(x), channel))).collect()
    };
    let counts: Vec<_> = counts.iter().map(|count| count.map(|n| n as f32)).collect();
    average(&average(&counts))
}

fn write_png(path: &Path, image: &Array3<u8>) -> Result<(), Box<dyn Error>> {
    let (height, width, _) = image.dim();
    let file = BufWriter::new(File::create(path).map_err(on(path))?);
    let mut encoder = png::Encoder::new(file, u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.as_slice().ok_or("the picture is not row-major")?)?;
    // Without this, a full disk would go unnoticed.
    writer.finish()?;
    Ok(())
}
