//! Layers of 16-bit elements: against the oracle, on arrays of either type and in one's own pass; and what they save and load.

use half::{bf16, f16};
use wgpu_norm::Element::{Bf16, F16, F32};
use wgpu_norm::ndarray::{ArrayD, IxDyn};
use wgpu_norm::nn::{BatchNormLayer, BatchNormOptions, GradOutput, LayerNormLayer, LayerNormOptions};
use wgpu_norm::{BindError, Element, Error, SpecError, Storage, wgpu};

use super::{cases, check_gradients, layer, room, submit, write_as};
use crate::support::{Gradient, close_to, gpu, gpus};

/// The values of 16-bit elements at the front of a buffer.
fn read_short(buffer: &wgpu::Buffer, element: Element, shape: &[usize]) -> ArrayD<f32> {
    let words = super::read(gpu(), buffer, &[buffer.size() as usize / 4]);
    let bits: Vec<u16> = words.iter().flat_map(|word| bytemuck::cast::<u32, [u16; 2]>(word.to_bits())).collect();
    let number =
        |&bits: &u16| if element == F16 { f16::from_bits(bits).to_f32() } else { bf16::from_bits(bits).to_f32() };
    ArrayD::from_shape_vec(IxDyn(shape), bits.iter().map(number).take(shape.iter().product()).collect()).unwrap()
}

/// Each case in f16 with parameters of f32, and all in bf16.
fn short_cases() -> impl Iterator<Item = Gradient> {
    let all_short = cases().into_iter().step_by(2).map(|case| case.stored_as(Bf16, Bf16));
    cases().into_iter().map(|case| case.stored_as(F16, F32)).chain(all_short)
}

#[test]
fn arrays_and_passes_against_the_oracle() {
    let gpu = &gpus()[0].1;
    for gradient in short_cases() {
        let Gradient { case, dy } = &gradient;
        let (element, shape) = (case.storage.of_input(), case.x.shape());
        let what = format!("{:?} {shape:?} in {element}", case.kind);
        let (want, want_back) = (case.oracle(), gradient.oracle());
        let norm = layer(gpu, case);
        let y = norm.run_array_blocking(case.x.view()).unwrap();
        close_to(element, &what, &y, &want.y, &want.scale);
        let dx = norm.run_backward_array_blocking(dy.view(), case.x.view()).unwrap();
        close_to(element, &what, &dx, &want_back.dx, &want_back.dx_scale);
        check_gradients(&what, &norm, &want_back, 1.0);

        // Arrays of its type are the same.
        if element == F16 {
            let [short_x, short_dy] = [&case.x, dy].map(|array| array.mapv(f16::from_f32));
            assert_eq!(norm.run_array_blocking(short_x.view()).unwrap(), y.mapv(f16::from_f32), "{what}");
            let short_dx = norm.run_backward_array_blocking(short_dy.view(), short_x.view()).unwrap();
            assert_eq!(short_dx, dx.mapv(f16::from_f32), "{what}");
        }

        // So are buffers.
        let norm = layer(gpu, case);
        let words = case.x.len().div_ceil(2);
        let [x, y_out, dy_in, dx_out] = [0; 4].map(|_| room(gpu, words));
        write_as(gpu, &x, element, &case.x);
        write_as(gpu, &dy_in, element, dy);
        submit(gpu, |pass| {
            let saved = norm.forward(pass, shape, &x, &y_out).unwrap();
            norm.backward(pass, &saved, GradOutput::new(&dy_in).grad_input(&dx_out)).unwrap();
        });
        assert_eq!(read_short(&y_out, element, shape), y, "{what}");
        close_to(element, &what, &read_short(&dx_out, element, shape), &want_back.dx, &want_back.dx_scale);
        check_gradients(&what, &norm, &want_back, 1.0);
    }
}

/// y and gradients of f32 beside an x of 16 bits; running statistics are f32 as ever.
#[test]
fn results_of_f32() {
    let storage = Storage::new(F16).output(F32).gradients(F32);
    let options = || BatchNormOptions::new(6);
    let [norm, wide] =
        [options().stored_as(storage), options()].map(|options| BatchNormLayer::new_blocking(gpu(), options).unwrap());
    let mut data = crate::support::Data::new(2);
    let [x, dy] = [0; 2].map(|_| data.normal(&[50, 6], 3.0, 1.0).mapv(|v| F16.rounded(v)));
    let runs = [&norm, &wide].map(|layer| {
        let y = layer.run_array_blocking(x.view()).unwrap();
        let dx = layer.run_backward_array_blocking(dy.view(), x.view()).unwrap();
        (y, dx, layer.running_statistics_blocking().unwrap())
    });
    let near = |a: &ArrayD<f32>, b: &ArrayD<f32>| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 2e-5);
    assert!(near(&runs[0].0, &runs[1].0) && near(&runs[0].1, &runs[1].1));
    let [mean, wide_mean] = [0, 1].map(|run| runs[run].2.as_ref().unwrap().mean.clone());
    assert!(mean.iter().zip(&wide_mean).all(|(a, b)| (a - b).abs() <= 1e-6), "{mean:?} {wide_mean:?}");
}

#[test]
fn other_types_are_refused() {
    let norm = |options: LayerNormOptions| LayerNormLayer::new_blocking(gpu(), options);
    let wide = norm(LayerNormOptions::new(&[3])).unwrap();
    let error = wide.run_blocking(&[1, 3], &[f16::ONE; 3]).unwrap_err();
    assert_eq!(error, Error::Bind(BindError::Element { tensor: "x", is: F16, must: F32 }));
    let error = wide.run_backward_blocking(&[1, 3], &[bf16::ONE; 3], &[bf16::ONE; 3]).unwrap_err();
    assert_eq!(error, Error::Bind(BindError::Element { tensor: "grad_output", is: Bf16, must: F32 }));
    let short = norm(LayerNormOptions::new(&[3]).stored_as(F16)).unwrap();
    let error = short.run_backward_blocking(&[1, 3], &[bf16::ONE; 3], &[bf16::ONE; 3]).unwrap_err();
    assert_eq!(error, Error::Bind(BindError::Element { tensor: "grad_output", is: Bf16, must: F16 }));
    let error = norm(LayerNormOptions::new(&[3]).stored_as(Storage::new(F16).parameters(Bf16))).unwrap_err();
    assert!(matches!(error, Error::Spec(SpecError::Storage { .. })), "{error}");
}

#[cfg(feature = "safetensors")]
mod checkpoints {
    use wgpu_norm::nn::{ParameterValues, StateTensor, Strictness};
    use wgpu_norm::safetensors::{self, Dtype, SafeTensors};

    use super::*;

    fn norm(parameters: Element) -> LayerNormLayer {
        let element = if parameters == F32 { F16 } else { parameters };
        let options = LayerNormOptions::new(&[5]).stored_as(Storage::new(element).parameters(parameters));
        LayerNormLayer::new_blocking(gpu(), options).unwrap()
    }

    fn weights(norm: &LayerNormLayer) -> Vec<f32> {
        let ParameterValues { weight, bias, .. } = norm.parameters_blocking().unwrap();
        assert_eq!(bias.unwrap(), [0.0; 5]);
        weight.unwrap()
    }

    /// Each type is saved as itself, and loads into each, rounded once.
    #[test]
    fn types_are_kept_and_convert() {
        let values = [1.0, 0.1, -3.0e-3, 250.3, 65_000.0];
        for from in [F32, F16, Bf16] {
            let saving = norm(from);
            assert_eq!(weights(&saving), [1.0; 5]);
            let weight = ArrayD::from_shape_vec(IxDyn(&[5]), values.map(|v| from.rounded(v)).to_vec()).unwrap();
            write_as(gpu(), saving.weight().unwrap(), from, &weight);
            let state = saving.state_dict_blocking("norm.").unwrap();
            let bytes = safetensors::serialize(&state, None).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let saved = file.tensor("norm.weight").unwrap();
            let dtype = [Dtype::F32, Dtype::F16, Dtype::BF16][from as usize];
            assert_eq!((saved.dtype(), saved.shape(), saved.data().len()), (dtype, &[5][..], 5 * from.size() as usize));
            for to in [F32, F16, Bf16] {
                let loading = norm(to);
                loading.load_state_dict_blocking(&file, "norm.", Strictness::Strict).unwrap();
                assert_eq!(
                    weights(&loading),
                    weight.mapv(|v| to.rounded(v)).into_raw_vec_and_offset().0,
                    "{from} {to}"
                );
            }
        }
    }

    #[test]
    fn numbers_beyond_a_type_are_refused() {
        let norm = norm(F16);
        let mut state = norm.state_dict_blocking("").unwrap();
        for (value, loads) in [(65_519.0, true), (f32::INFINITY, true), (65_520.0, false)] {
            state.insert("weight".to_owned(), StateTensor::f32(&[5], &[value; 5]).unwrap());
            match norm.load_state_dict_blocking(&state, "", Strictness::Strict) {
                Ok(_) => assert!(loads, "{value}"),
                Err(error) => {
                    assert!(!loads, "{error}");
                    let says = "in the range of f16, as which the layer stores it";
                    assert!(error.to_string().contains(says), "{error}");
                }
            }
        }
        assert_eq!(weights(&norm), [f32::INFINITY; 5]);
    }
}
