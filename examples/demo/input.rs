//! The files of `assets/`, as the tensors that the norms are given.

use std::error::Error;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use safetensors::SafeTensors;
use wgpu_norm::ndarray::{Array3, Array4, ArrayD, ArrayView3, Axis, s};
use wgpu_norm::reference;

use crate::on;

pub const DESCRIPTION: &str = "\
photo: 32 crops of 224 x 224, every other one mirrored, as one step of training takes them; patches: the same
        cut in squares of 8 x 8, whose 192 values are the channels; tokens: what a LayerNorm of a language model is
        given, 64 times over. One photograph alone would be too little to time.";

const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
const CROPS: usize = 32;
const CROP: usize = 224;
const PATCH: usize = 8;
const REPEATS: usize = 64;

/// Everything the demo normalizes.
pub struct Inputs {
    /// The photograph, 0 to 1: rows, columns, channels.
    pub photo: Array3<f32>,
    /// A batch of crops of it, in both layouts.
    pub crops: Layouts,
    /// The crops in squares, in both layouts.
    pub patches: Layouts,
    /// What a LayerNorm of a language model is given.
    pub tokens: ArrayD<f32>,
    /// Its parameters.
    pub weight: ArrayD<f32>,
    pub bias: ArrayD<f32>,
    pub eps: f32,
    /// What the model made of the first of the repeats.
    model_output: ArrayD<f32>,
}

/// The same images twice.
pub struct Layouts {
    /// (N, H, W, C)
    pub last: ArrayD<f32>,
    /// (N, C, H, W)
    pub first: ArrayD<f32>,
}

impl Layouts {
    fn new(last: Array4<f32>) -> Self {
        let first = last.view().permuted_axes([0, 3, 1, 2]).as_standard_layout().into_owned();
        Self { last: last.into_dyn(), first: first.into_dyn() }
    }
}

impl Inputs {
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let assets = Path::new(ASSETS);
        let photo = load_photo(&assets.join("photo.png"))?;
        let crops = crops(photo.view());
        let patches = patches(&crops)?;

        let activations = assets.join("activations.safetensors");
        let bytes = fs::read(&activations).map_err(on(&activations))?;
        let file = SafeTensors::deserialize(&bytes)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let eps = header.metadata().as_ref().and_then(|m| m.get("eps")).ok_or("the activations have no eps")?;
        let once = load_tensor(&file, "input")?;
        let repeated = vec![once.view(); REPEATS];
        Ok(Self {
            photo,
            crops: Layouts::new(crops),
            patches: Layouts::new(patches),
            tokens: wgpu_norm::ndarray::concatenate(Axis(0), &repeated)?,
            weight: load_tensor(&file, "weight")?,
            bias: load_tensor(&file, "bias")?,
            eps: eps.parse()?,
            model_output: load_tensor(&file, "output")?,
        })
    }

    /// How far `y` is from the model's own output, by the measure of the oracle.
    pub fn distance_from_model(&self, y: &ArrayD<f32>, scale: &ArrayD<f64>) -> f64 {
        let sentences = self.model_output.len_of(Axis(0));
        let got = y.slice_axis(Axis(0), (..sentences).into());
        let scale = scale.slice_axis(Axis(0), (..sentences).into());
        let want = self.model_output.mapv(f64::from);
        reference::largest_error(got, want.view(), scale).map_or(0.0, |worst| worst.relative)
    }
}

fn load_photo(path: &Path) -> Result<Array3<f32>, Box<dyn Error>> {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).map_err(on(path))?)).read_info()?;
    let (color, depth) = reader.output_color_type();
    if (color, depth) != (png::ColorType::Rgb, png::BitDepth::Eight) {
        return Err(format!("{} is not 8-bit RGB", path.display()).into());
    }
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("the photograph is too large")?];
    let frame = reader.next_frame(&mut pixels)?;
    pixels.truncate(frame.buffer_size());
    let values = pixels.into_iter().map(|v| f32::from(v) / 255.0).collect();
    Ok(Array3::from_shape_vec((frame.height as usize, frame.width as usize, 3), values)?)
}

/// Windows of the photograph, at places that go over all of it.
fn crops(photo: ArrayView3<'_, f32>) -> Array4<f32> {
    let (height, width, channels) = photo.dim();
    let mut crops = Array4::zeros((CROPS, CROP, CROP, channels));
    for (number, mut crop) in crops.outer_iter_mut().enumerate() {
        // Strides without a common factor, so that no two crops are alike.
        let (top, left) = (number * 29 % (height - CROP + 1), number * 47 % (width - CROP + 1));
        let window = photo.slice(s![top..top + CROP, left..left + CROP, ..]);
        crop.assign(&if number % 2 == 0 { window } else { window.slice_move(s![.., ..;-1, ..]) });
    }
    crops
}

/// Each square of 8 x 8 pixels as one position with 192 channels, as a vision transformer starts.
fn patches(crops: &Array4<f32>) -> Result<Array4<f32>, Box<dyn Error>> {
    let (n, height, width, channels) = crops.dim();
    let (rows, columns) = (height / PATCH, width / PATCH);
    let squares = crops.view().into_shape_with_order((n, rows, PATCH, columns, PATCH, channels))?;
    let squares = squares.permuted_axes([0, 1, 3, 2, 4, 5]);
    let values = squares.as_standard_layout().into_owned();
    Ok(values.into_shape_with_order((n, rows, columns, PATCH * PATCH * channels))?)
}

fn load_tensor(file: &SafeTensors<'_>, name: &str) -> Result<ArrayD<f32>, Box<dyn Error>> {
    let tensor = file.tensor(name)?;
    if tensor.dtype() != safetensors::Dtype::F32 {
        return Err(format!("{name} is {:?}, not F32", tensor.dtype()).into());
    }
    let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(ArrayD::from_shape_vec(tensor.shape(), values)?)
}
