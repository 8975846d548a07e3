//! `--dtype` and `.safetensors` outputs: what is stored as what, in which files.

use std::fs;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use wgpu_norm::Element::{self, Bf16, F16};
use wgpu_norm::{Backward, Cpu, Inputs, LayerNorm, Norm, Rounding};

use crate::command::{Folder, values};
use crate::support::gpu;

/// A folder with `x.npy`, `dy.npy` and `w.npy` of float32, which both 16-bit types have, and `m.safetensors` with `x` and `dy` of each.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.npy("x.npy", &[3, 5], &x());
    folder.npy("dy.npy", &[3, 5], &dy());
    folder.npy("w.npy", &[5], &values(5));
    let header = r#"{"x16":{"dtype":"F16","shape":[3,5],"data_offsets":[0,30]},
        "xb16":{"dtype":"BF16","shape":[3,5],"data_offsets":[30,60]}}"#;
    let data = [F16, Bf16].map(|element| element.bytes_of(&x()).into_owned()).concat();
    folder.write("m.safetensors", &[&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat());
    folder
}

fn x() -> Vec<f32> {
    values(15)
}

fn dy() -> Vec<f32> {
    values(31).split_off(16)
}

/// The type and the bits of a `.npy` file of 16-bit elements.
fn bits(folder: &Folder, name: &str) -> (String, Vec<u16>) {
    let bytes = fs::read(folder.path(name)).expect("an output");
    let file = npyz::NpyFile::new(bytes.as_slice()).expect("a .npy header");
    assert_eq!((file.order(), file.shape()), (npyz::Order::C, &[3, 5][..]));
    let (descr, data) = (file.dtype().descr(), &bytes[bytes.len() - 30..]);
    (descr, data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}

fn bits_of(element: Element, values: &[f32]) -> Vec<u16> {
    let short = |&v: &f32| if element == F16 { f16::from_f32(v).to_bits() } else { bf16::from_f32(v).to_bits() };
    values.iter().map(short).collect()
}

fn norm(element: Element) -> impl Norm {
    LayerNorm::new(&[3, 5], &[5]).unwrap().stored_as(element)
}

#[test]
fn results_are_those_of_the_library_in_their_type() {
    let folder = folder();
    let weight = values(5);
    for (element, word, name, descr) in [(F16, "f16", "float16", "'<f2'"), (Bf16, "bf16", "bfloat16", "'<u2'")] {
        let (x, dy) = (x(), dy());
        let want = gpu().run_blocking(&norm(element), Inputs::new(&x[..]).weight(&weight).with_mean()).unwrap();
        let line = format!("apply layer --dtype {word} --weight w.npy --output y.npy --save-mean m.npy --check");
        let ended = folder.succeed(&format!("{line} --input x.npy"));
        assert_eq!(bits(&folder, "y.npy"), (descr.to_owned(), bits_of(element, &want.y)));
        assert_eq!(folder.read("m.npy").as_slice(), want.mean.as_deref());
        assert!(ended.stdout.starts_with(&format!("layer norm of [3, 5], stored as {word}, in ")), "{}", ended.stdout);
        let told = format!(" of the size of its terms beyond one rounding to {name}, at [");
        assert!(ended.stdout.contains(&told), "{}", ended.stdout);
        // All of its rounding is in the type's own.
        assert!(!ended.stdout.contains("by conversion"), "{}", ended.stdout);
        let notes: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(notes.len(), if element == F16 { 1 } else { 2 }, "{notes:?}");
        assert_eq!(notes[0], format!("note: `x.npy` (--input) is float32 and was converted to {name}"));
        if element == Bf16 {
            assert!(notes[1].starts_with("note: `y.npy` (--output) holds bfloat16") && notes[1].contains("uint16"));
        }
        // Which are read as integers, and that is said.
        if element == Bf16 {
            let ended = folder.succeed("apply layer --dtype bf16 --input y.npy --output z.npy");
            assert!(ended.stderr.contains("integer by integer; bits of bfloat16 are read from"), "{}", ended.stderr);
        }
        // Of its own type nothing is converted.
        let stored = if element == F16 { "x16" } else { "xb16" };
        let ended = folder.succeed(&format!("{line} --input m.safetensors:{stored} --json"));
        assert!(!ended.stderr.contains("converted"), "{}", ended.stderr);
        let report = ended.json();
        assert_eq!(report["dtype"], word);
        assert_eq!(report["input"]["converted_from"], serde_json::Value::Null);
        assert_eq!(report["outputs"]["y"], json!({ "file": "y.npy", "shape": [3, 5], "dtype": word }));
        assert_eq!(report["outputs"]["mean"]["dtype"], "f32");
        assert_eq!(bits(&folder, "y.npy").1, bits_of(element, &want.y));

        folder.succeed(&format!("{line} --input x.npy --device cpu"));
        let want = Cpu::new().run(&norm(element), Inputs::new(&x[..]).weight(&weight)).unwrap();
        assert_eq!(bits(&folder, "y.npy"), (descr.to_owned(), bits_of(element, &want.y)));

        let inputs = || Inputs::new(&x[..]).weight(&weight).grad_output(&dy);
        for (device, want) in [
            ("gpu", gpu().run_backward_blocking(&norm(element), Backward::new(), inputs()).unwrap()),
            ("cpu", Cpu::new().run_backward(&norm(element), Backward::new(), inputs()).unwrap()),
        ] {
            let ended = folder.succeed(&format!(
                "grad layer --device {device} --dtype {word} --input x.npy --grad-output dy.npy --weight w.npy \
                 --save-grad-input dx.npy --save-grad-weight dw.npy --check"
            ));
            assert_eq!(bits(&folder, "dx.npy"), (descr.to_owned(), bits_of(element, &want.input.unwrap())));
            assert_eq!(folder.read("dw.npy").as_slice(), want.weight.as_deref());
            let conversion = format!("(--grad-output) is float32 and was converted to {name}");
            assert!(ended.stderr.contains(&conversion), "{}", ended.stderr);
        }
    }
}

/// In Llama's order, which --check allows for; in the type's own, and of the norms that have it.
#[test]
fn normalized_values_can_be_rounded_before_the_weight() {
    let folder = folder();
    let (x, weight) = (x(), values(5));
    let stored = |rounding| LayerNorm::new(&[3, 5], &[5]).unwrap().rounding(rounding).stored_as(Bf16);
    for device in ["gpu", "cpu"] {
        let line =
            format!("apply layer --device {device} --dtype bf16 --weight w.npy --input x.npy --output y.npy --check");
        let ended = folder.succeed(&format!("{line} --rounding before-weight"));
        assert!(ended.stdout.contains("beyond two roundings to bfloat16"), "{}", ended.stdout);
        let before = bits(&folder, "y.npy").1;
        folder.succeed(&format!("{line} --rounding at-end"));
        for (rounding, got) in [(Rounding::BeforeWeight, before), (Rounding::AtEnd, bits(&folder, "y.npy").1)] {
            let want = Cpu::new().run(&stored(rounding), Inputs::new(&x[..]).weight(&weight)).unwrap();
            assert_eq!(got, bits_of(Bf16, &want.y), "{rounding:?}");
        }
    }
    let line = "--rounding before-weight --input x.npy --output z.npy";
    folder.refuse(1, &format!("apply rms {line}"), &["--rounding", "x is f32"]);
    folder.refuse(2, &format!("apply lp --dtype f16 {line}"), &["--rounding", "layer and rms"]);
}

/// float32 that the type rounds is off by that, as float64 is that float32 rounds.
#[test]
fn checking_tells_what_the_conversion_has_cost() {
    let folder = Folder::new();
    folder.npy("x.npy", &[1, 4], &[2048.0_f32, 2049.0, 2050.5, 2051.5]);
    let ended = folder.run("apply layer --dtype f16 --input x.npy --output y.npy --save-mean m.npy --check");
    assert_eq!(ended.status, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains(" by conversion to float16), at ["), "{}", ended.stdout);
    assert!(ended.stderr.contains(" of the size of its terms beyond one rounding to float16 ("), "{}", ended.stderr);
    // The mean is an f32.
    assert!(ended.stderr.contains("mean is off by 1.2e-4 of the size of its terms ("), "{}", ended.stderr);
    // Nothing may come out infinite by conversion.
    folder.npy("large.npy", &[1, 4], &[1.0_f32, 2.0, 65_519.0, 65_520.0]);
    let line = "--input large.npy --output y.npy";
    folder.refuse(1, &format!("apply layer --dtype f16 {line}"), &["6.552e4", "[0, 3]", "float16", "--dtype"]);
    folder.succeed(&format!("apply layer --dtype bf16 {line}"));
}

#[test]
fn other_types_are_refused() {
    let folder = folder();
    for command in [
        "apply layer --input x.npy --output y.npy",
        "grad layer --input x.npy --grad-output dy.npy --save-grad-input dx.npy",
        "plan layer --shape 4x8",
        "bench",
    ] {
        for word in ["f64", "F16", "float16", ""] {
            folder.refuse(2, &format!("{command} --dtype={word}"), &["--dtype", "f32, f16 or bf16"]);
        }
    }
}

#[test]
fn tensors_of_one_file() {
    let folder = folder();
    folder.write("out.safetensors", b"former");
    let line = "apply layer --dtype f16 --input m.safetensors:x16 --save-mean out.safetensors:a.mean \
                --output ./out.safetensors:b:y --save-rstd other.safetensors:rstd";
    let ended = folder.succeed(&format!("{line} --json --check"));
    assert_eq!(ended.stderr, "");
    let output = json!({ "file": "./out.safetensors:b:y", "shape": [3, 5], "dtype": "f16" });
    assert_eq!(ended.json()["outputs"]["y"], output);
    let want = gpu().run_blocking(&norm(F16), Inputs::new(&x()[..]).with_mean().with_rstd()).unwrap();
    let bytes = fs::read(folder.path("out.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).expect("a .safetensors file");
    assert_eq!(file.len(), 2);
    let y = file.tensor("b:y").expect("y");
    assert_eq!((y.dtype(), y.shape(), y.data()), (Dtype::F16, &[3, 5][..], &*F16.bytes_of(&want.y)));
    let mean = file.tensor("a.mean").expect("the mean");
    let of_mean = want.mean.unwrap();
    assert_eq!((mean.dtype(), mean.shape(), mean.data()), (Dtype::F32, &[3, 1][..], bytemuck::cast_slice(&of_mean)));
    // Where NumPy has no say, bfloat16 goes without a note.
    let ended = folder.succeed("apply layer --dtype bf16 --input m.safetensors:xb16 --output y.safetensors:y");
    assert_eq!(ended.stderr, "");
    let bytes = fs::read(folder.path("y.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).expect("a .safetensors file");
    assert_eq!((file.names(), file.tensor("y").unwrap().dtype()), (vec!["y"], Dtype::BF16));
    // What is written is read, and what is of the same name is replaced.
    let dx = "--save-grad-input dx.safetensors:dx";
    folder.succeed(&format!("grad layer --input y.safetensors:y --grad-output dy.npy {dx}"));
    folder.succeed("apply rms --input dx.safetensors:dx --output dx.safetensors:dx --check");

    let before = fs::read(folder.path("out.safetensors")).unwrap();
    let names = folder.files();
    for (outputs, status, words) in [
        ("--output out.safetensors", 2, ["--output", "out.safetensors:NAME"]),
        ("--output out.safetensors:", 2, ["--output", "out.safetensors:NAME"]),
        ("--output out.safetensors:__metadata__", 2, ["--output", "__metadata__"]),
        ("--output out.safetensors:y --save-mean ./out.safetensors:y", 2, ["--save-mean", "the same tensor `y`"]),
        ("--output out.safetensors:y", 1, ["--output", "would be lost (it has `a.mean`, `b:y`); name another file"]),
        (
            "--output ./out.safetensors:b:y --save-mean m.npy",
            1,
            ["`./out.safetensors` (--output)", "has one, `a.mean`"],
        ),
        ("--output new.safetensors:y --save-mean gone/m.npy", 1, ["--save-mean", "no directory `gone`"]),
        ("--output new.safetensors:y --save-mean gone/m.safetensors:m", 1, ["--save-mean", "no directory `gone`"]),
        ("--output new.safetensors:y --normalized-shape 3", 1, ["--normalized-shape", "[3]"]),
    ] {
        folder.refuse(status, &format!("apply layer --input x.npy {outputs}"), &words);
        assert_eq!(
            (folder.files(), fs::read(folder.path("out.safetensors")).unwrap()),
            (names.clone(), before.clone())
        );
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("out.safetensors", folder.path("link.npy")).unwrap();
        let line = "apply layer --input x.npy --output out.safetensors:y --save-mean link.npy";
        folder.refuse(2, line, &["--output", "--save-mean", "the same file"]);
    }
}
