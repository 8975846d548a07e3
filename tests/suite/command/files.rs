//! The command on files: every way a file can be wrong, and that outputs are written all or not at all.

use std::fs;

use half::{bf16, f16};
use wgpu_norm::ndarray::Axis;

use crate::command::{Ended, Folder, values};

/// A `.npy` file of version 1.0 with this header text.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).expect("a short header");
    [b"\x93NUMPY\x01\x00".as_slice(), &length.to_le_bytes(), header.as_bytes(), data].concat()
}

pub fn array(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    npy(&format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"), data)
}

/// A `.safetensors` file with this header text.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn bytes<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    values.into_iter().flatten().collect()
}

/// The values 0 to 23 of shape (2, 3, 4), in the order of Fortran.
fn fortran_order(values: &[f32]) -> Vec<f32> {
    let at = |i: usize, j: usize, k: usize| values[(i * 3 + j) * 4 + k];
    (0..24).map(|position| at(position % 2, position / 2 % 3, position / 6)).collect()
}

#[test]
fn every_float_type_and_order_reads_the_same() {
    let folder = Folder::new();
    let x = values(24);
    let shape = "(2, 3, 4)";
    let tensors = format!(
        r#"{{"h":{{"dtype":"F16","shape":[2,3,4],"data_offsets":[0,48]}},
            "a:b.safetensors:c":{{"dtype":"BF16","shape":[2,3,4],"data_offsets":[48,96]}},
            "d":{{"dtype":"F64","shape":[2,3,4],"data_offsets":[96,288]}},
            "f":{{"dtype":"F32","shape":[2,3,4],"data_offsets":[288,384]}}}}{}"#,
        // As its writers pad it.
        " ".repeat(5)
    );
    let half = bytes(x.iter().map(|&v| f16::from_f32(v).to_le_bytes()));
    let brain = bytes(x.iter().map(|&v| bf16::from_f32(v).to_le_bytes()));
    let double = bytes(x.iter().map(|&v| f64::from(v).to_le_bytes()));
    let single = bytes(x.iter().map(|&v| v.to_le_bytes()));
    let tensors = safetensors(&tensors, &[half.as_slice(), &brain, &double, &single].concat());
    let turned = fortran_order(&x);
    let files = [
        ("c.npy", array("<f4", false, shape, &single)),
        ("big.npy", array(">f4", false, shape, &bytes(x.iter().map(|v| v.to_be_bytes())))),
        ("fortran.npy", array("<f4", true, shape, &bytes(turned.iter().map(|v| v.to_le_bytes())))),
        ("both.npy", array(">f8", true, shape, &bytes(turned.iter().map(|&v| f64::from(v).to_be_bytes())))),
        ("half.npy", array("<f2", false, shape, &half)),
        ("double.npy", array("<f8", false, shape, &double)),
        ("m.safetensors", tensors),
    ];
    for (name, content) in files {
        folder.write(name, &content);
    }
    folder.succeed("apply layer --input c.npy --output want.npy");
    let runs = [
        ("big.npy", None),
        ("fortran.npy", None),
        ("both.npy", Some("float64")),
        ("half.npy", Some("float16")),
        ("double.npy", Some("float64")),
        ("m.safetensors:h", Some("float16")),
        ("m.safetensors:a:b.safetensors:c", Some("bfloat16")),
        ("m.safetensors:d", Some("float64")),
        ("m.safetensors:f", None),
    ];
    for (input, converted) in runs {
        let ended = folder.succeed(&format!("apply layer --input {input} --output y.npy"));
        assert_eq!(folder.read("y.npy"), folder.read("want.npy"), "{input}");
        match converted {
            None => assert_eq!(ended.stderr, "", "{input}"),
            Some(from) => {
                assert!(ended.stderr.starts_with("note: "), "{}", ended.stderr);
                assert!(ended.stderr.contains(input) && ended.stderr.contains(from), "{}", ended.stderr);
                assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            }
        }
    }
    // Infinities and NaN are values like others.
    let odd = [f64::INFINITY, 1.0, f64::NEG_INFINITY, f64::NAN, 1.0, 2.0, 3.0, 4.0];
    folder.write("odd.npy", &array("<f8", false, "(2, 4)", &bytes(odd.map(f64::to_le_bytes))));
    folder.succeed("apply layer --input odd.npy --output y.npy");
    let y = folder.read("y.npy");
    assert!(y.index_axis(Axis(0), 0).iter().all(|value| value.is_nan()));
    assert!(y.index_axis(Axis(0), 1).iter().all(|value| value.is_finite()));
}

#[test]
fn integers_and_bools_are_converted() {
    let folder = Folder::new();
    let whole: Vec<i64> = (0..24).map(|i| (i * 37 + 11) % 101).collect();
    let signed: Vec<i64> = whole.iter().map(|v| v - 50).collect();
    let bools: Vec<i64> = whole.iter().map(|v| v % 2).collect();
    let types: [(&str, &str, &str, usize, &[i64]); 9] = [
        ("|i1", "I8", "int8", 1, &signed),
        ("<i2", "I16", "int16", 2, &signed),
        ("<i4", "I32", "int32", 4, &signed),
        ("<i8", "I64", "int64", 8, &signed),
        ("|u1", "U8", "uint8", 1, &whole),
        ("<u2", "U16", "uint16", 2, &whole),
        ("<u4", "U32", "uint32", 4, &whole),
        ("<u8", "U64", "uint64", 8, &whole),
        ("|b1", "BOOL", "bool", 1, &bools),
    ];
    let apply = |input: &str| {
        let ended = folder.succeed(&format!("apply layer --input {input} --output y.npy --check"));
        (folder.read("y.npy"), ended.stderr)
    };
    for (descr, dtype, name, size, values) in types {
        folder.npy("want.npy", &[2, 3, 4], &values.iter().map(|&v| v as f32).collect::<Vec<f32>>());
        let (want, _) = apply("want.npy");
        let little: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect();
        let big: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()[8 - size..].to_vec()).collect();
        folder.write("x.npy", &array(descr, false, "(2, 3, 4)", &little));
        folder.write("big.npy", &array(&descr.replace('<', ">"), false, "(2, 3, 4)", &big));
        let header = format!(r#"{{"t":{{"dtype":"{dtype}","shape":[2,3,4],"data_offsets":[0,{}]}}}}"#, 24 * size);
        folder.write("m.safetensors", &safetensors(&header, &little));
        for input in ["x.npy", "big.npy", "m.safetensors:t"] {
            let (got, notes) = apply(input);
            assert_eq!(got, want, "{descr} {input}");
            assert_eq!(notes, format!("note: `{input}` (--input) is {name} and was converted to float32\n"));
        }
    }
    // Unsigned ones past the signed, and bytes of a bool that are neither 0 nor 1.
    for (descr, data, want) in [
        ("|u1", vec![255, 0], [255.0, 0.0]),
        ("|i1", vec![255, 0], [-1.0, 0.0]),
        ("<u8", [[255; 8], [0; 8]].concat(), [18446744073709551615_f32, 0.0]),
        ("|b1", vec![2, 0], [1.0, 0.0]),
    ] {
        folder.write("x.npy", &array(descr, false, "(2,)", &data));
        folder.npy("want.npy", &[2], &want);
        for (input, output) in [("x.npy", "y.npy"), ("want.npy", "z.npy")] {
            folder.succeed(&format!("apply lp --p 1 --input {input} --output {output} --save-rstd r{output}"));
        }
        assert_eq!(folder.read("y.npy"), folder.read("z.npy"), "{descr}");
        assert_eq!(folder.read("ry.npy"), folder.read("rz.npy"), "{descr}");
    }
}

/// What others than NumPy, and its older versions, write, and NumPy reads.
#[test]
fn headers_that_numpy_reads_are_read() {
    let folder = Folder::new();
    let x = values(6);
    let native = bytes(x.iter().map(|v| v.to_ne_bytes()));
    folder.npy("want.npy", &[2, 3], &x);
    folder.succeed("apply layer --input want.npy --output want.npy");
    let with = |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut headers = vec![
        "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"=f4\"}".to_owned(),
        "{ 'fortran_order' : False ,\n 'descr' :\t'=f4' , 'shape' : ( 2 , 3 , ) , } \n".to_owned(),
    ];
    headers.extend(
        ["=f4", "f4", "|f4", "f", "=f", "float32", "single"].map(|descr| with(&format!("'{descr}'"), "(2, 3)")),
    );
    // Python 2.
    headers.extend(["(2L, 3L)", "(2L,3)", "(2, 3L,)", "(2 L, 3)"].map(|shape| with("'=f4'", shape)));
    headers.push(with("u'=f4'", "(2, 3)"));
    for header in headers {
        folder.write("x.npy", &npy(&header, &native));
        let ended = folder.succeed("apply layer --input x.npy --output y.npy");
        assert_eq!((folder.read("y.npy"), ended.stderr.as_str()), (folder.read("want.npy"), ""), "{header}");
    }
    for (descr, name, data) in [
        ("d", "float64", bytes(x.iter().map(|&v| f64::from(v).to_ne_bytes()))),
        (">d", "float64", bytes(x.iter().map(|&v| f64::from(v).to_be_bytes()))),
        ("f8", "float64", bytes(x.iter().map(|&v| f64::from(v).to_ne_bytes()))),
        ("e", "float16", bytes(x.iter().map(|&v| f16::from_f32(v).to_ne_bytes()))),
    ] {
        folder.write("x.npy", &array(descr, false, "(2, 3)", &data));
        let ended = folder.succeed("apply layer --input x.npy --output y.npy");
        assert_eq!(folder.read("y.npy"), folder.read("want.npy"), "{descr}");
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
    }
}

#[test]
fn other_types_are_refused_by_name() {
    let folder = Folder::new();
    let types = [
        ("<c8", 8, "complex64"),
        ("<c16", 16, "complex128"),
        ("<f16", 16, "float128"),
        ("<M8[s]", 8, "datetime64"),
        ("<m8[ns]", 8, "timedelta64"),
        ("|S3", 3, "bytes"),
        ("<U2", 8, "str"),
        ("|O", 8, "object"),
        ("|V7", 7, "void56"),
        // What NumPy makes of bfloat16.
        ("<V2", 2, "bfloat16"),
    ];
    for (descr, size, name) in types {
        folder.write("x.npy", &array(descr, false, "(6,)", &vec![0; 6 * size]));
        refuse(&folder, "x.npy", &["dtype", name, "float32", "float64", "float16", "integers"]);
    }
    folder.write(
        "x.npy",
        &npy("{'descr': [('a', '<f4', (2,)), ('b', '<i4')], 'fortran_order': False, 'shape': (0,), }\n", &[]),
    );
    refuse(&folder, "x.npy", &["structured", "float32"]);
    for (dtype, size, name) in [("C64", 8, "complex64"), ("F8_E4M3", 1, "F8_E4M3")] {
        let header = format!(r#"{{"t":{{"dtype":"{dtype}","shape":[6],"data_offsets":[0,{}]}}}}"#, 6 * size);
        folder.write("m.safetensors", &safetensors(&header, &vec![0; 6 * size]));
        refuse(&folder, "m.safetensors:t", &["dtype", dtype, name, "float32"]);
    }
}

#[test]
fn values_beyond_float32_are_refused() {
    let folder = Folder::new();
    let mut x = [1.0_f64; 24];
    x[23] = 1e300;
    let data = bytes(x.iter().map(|v| v.to_le_bytes()));
    folder.write("c.npy", &array("<f8", false, "(2, 3, 4)", &data));
    refuse(&folder, "c.npy", &["1e300", "[1, 2, 3]", "float32"]);
    x.swap(23, 1);
    let data = bytes(x.iter().map(|v| v.to_le_bytes()));
    folder.write("f.npy", &array("<f8", true, "(2, 3, 4)", &data));
    refuse(&folder, "f.npy", &["1e300", "[1, 0, 0]"]);
    let header = r#"{"t":{"dtype":"F64","shape":[2,3,4],"data_offsets":[0,192]}}"#;
    folder.write("m.safetensors", &safetensors(header, &data));
    refuse(&folder, "m.safetensors:t", &["1e300", "[0, 0, 1]"]);
    // The largest float32, and what rounds to it, are none of these.
    x[1] = f64::from(f32::MAX) * (1.0 + 1e-9);
    folder.write("c.npy", &array("<f8", false, "(2, 3, 4)", &bytes(x.iter().map(|v| v.to_le_bytes()))));
    folder.succeed("apply layer --input c.npy --output z.npy");
}

/// What the command has to say about a file: its name and argument, and these words.
fn refuse(folder: &Folder, input: &str, words: &[&str]) {
    let line = format!("apply layer --input {input} --output y.npy");
    let words: Vec<&str> = words.iter().copied().chain([input, "--input"]).collect();
    folder.refuse(1, &line, &words);
    assert!(!folder.path("y.npy").exists(), "{line}");
}

#[test]
fn npy_files_that_lie_are_refused() {
    let folder = Folder::new();
    let good = array("<f4", false, "(2, 3)", &[0; 24]);
    let deep = format!("{}{}", "(".repeat(2000), ")".repeat(2000));
    let with_version = |major: u8| {
        let mut file = good.clone();
        file[6] = major;
        file
    };
    // Version 2.0 has a header length of four bytes.
    let long_header = |length: u32| [b"\x93NUMPY\x02\x00".as_slice(), &length.to_le_bytes(), &[b' '; 11_000]].concat();
    let files: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "empty"),
        (good[..3].to_vec(), "cut short"),
        (good[..9].to_vec(), "cut short"),
        (good[..40].to_vec(), "cut short"),
        (good[..good.len() - 1].to_vec(), "24 bytes of data, and it has 23"),
        ([good.as_slice(), b"more"].concat(), "28 bytes of data"),
        (b"not at all".to_vec(), "isn't a .npy file"),
        (b"PK\x03\x04 and so on".to_vec(), "zip archive"),
        (safetensors("{}", b""), "safetensors"),
        (with_version(9), "version 9.0"),
        (long_header(u32::MAX), "cut short or corrupt"),
        (long_header(11_000), "longer than that of any plain array"),
        // Shapes beyond the file, beyond memory, and beyond counting.
        (array("<f4", false, "(1000000, 1000000)", &[0; 16]), "4000000000000 bytes"),
        (array("<f8", false, "(2305843009213693952,)", &[0; 16]), "larger than any memory"),
        (array("<f4", false, "(4294967296, 4294967296, 4294967296)", &[0; 16]), "larger than any memory"),
        (array("<f4", false, "(0, 4294967296, 4294967296)", &[]), "larger than any memory"),
        (array("<f4", false, "(0, 4611686018427387904)", &[]), "larger than any memory"),
        (array("<f4", false, "(99999999999999999999999,)", &[]), "larger than any memory"),
        (array("<f4", false, "(-2, 3)", &[0; 24]), "negative"),
        (array("<f4", false, "(2.0, 3)", &[0; 24]), "corrupt"),
        (array("<f4", false, "(1e9, 3)", &[0; 24]), "corrupt"),
        (array("<f4", false, "(two, 3)", &[0; 24]), "`two`"),
        (array("<f4", false, "6", &[0; 24]), "shape"),
        (array("<f4", false, "'6'", &[0; 24]), "shape"),
        (array("<f4", false, "(6)", &[0; 24]), "shape"),
        (array("<f4", false, "[6]", &[0; 24]), "shape"),
        (array("<f4", false, "(6l,)", &[0; 24]), "`l`"),
        (array("<f4", false, "(,)", &[0; 24]), "corrupt"),
        (array("<f4", false, "(True, 6)", &[0; 24]), "`True`"),
        (array("<q4", false, "(6,)", &[0; 24]), "descr"),
        (array("", false, "(6,)", &[0; 24]), "descr"),
        (array("<", false, "(6,)", &[0; 24]), "descr"),
        (array("f3", false, "(8,)", &[0; 24]), "float24"),
        // As many bytes as the system that wrote it had.
        (array("l", false, "(3,)", &[0; 24]), "descr"),
        (array("<<f4", false, "(6,)", &[0; 24]), "descr"),
        (array("<f4\\n", false, "(6,)", &[0; 24]), "corrupt"),
        (npy("{'descr': '<f4', 'fortran_order': False}", &[0; 24]), "shape"),
        (npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}", &[0; 24]), "fortran_order"),
        (npy("{'descr': 4, 'fortran_order': False, 'shape': (6,)}", &[0; 24]), "corrupt"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)", &[0; 24]), "corrupt"),
        (npy("{'descr': '<f4", &[0; 24]), "corrupt"),
        (npy("", &[0; 24]), "corrupt"),
        (npy("[1, 2]", &[0; 24]), "dict"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} {}", &[0; 24]), "follows"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}", &[0; 24]), "`more`"),
        (npy("{'descr': '<f4' 'fortran_order': False, 'shape': (6,)}", &[0; 24]), "corrupt"),
        (npy("{, 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", &[0; 24]), "corrupt"),
        (npy(&deep, &[]), "dict"),
        (npy(&"{".repeat(50), &[]), "corrupt"),
        (npy(&format!("{{'descr': {}", "{1, ".repeat(50)), &[]), "corrupt"),
        (npy(&deep.replace('(', "{").replace(')', "}"), &[]), "corrupt"),
        ([b"\x93NUMPY\x01\x00\x04\x00".as_slice(), &[0xff; 4]].concat(), "text"),
    ];
    for (content, word) in files {
        folder.write("x.npy", &content);
        refuse(&folder, "x.npy", &[word]);
    }
}

#[test]
fn safetensors_files_that_lie_are_refused() {
    let folder = Folder::new();
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let good = safetensors(&entry("F32", "[2,3]", "[0,24]"), &[0; 24]);
    let length = |length: u64| [&length.to_le_bytes(), b"{}".as_slice()].concat();
    let files: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "empty"),
        (good[..5].to_vec(), "cut short"),
        (good[..30].to_vec(), "cut short"),
        (good[..good.len() - 1].to_vec(), "cut short"),
        ([good.as_slice(), b"more"].concat(), "28 follow its header"),
        (length(u64::MAX), "cut short, corrupt"),
        (length(99_000_000), "cut short, corrupt"),
        (safetensors("{nope", &[]), "header is corrupt"),
        (safetensors(&"{\"t\":".repeat(5000), &[]), "header is corrupt"),
        (safetensors(&entry("F32", "[1000000,1000000]", "[0,24]"), &[0; 24]), "header is corrupt"),
        (safetensors(&entry("F32", "[4611686018427387904,4]", "[0,24]"), &[0; 24]), "header is corrupt"),
        (safetensors(&entry("F32", "[0,4611686018427387904,16]", "[0,0]"), &[]), "larger than any memory"),
        (safetensors(&entry("F32", "[-6]", "[0,24]"), &[0; 24]), "header is corrupt"),
        (safetensors(&entry("F32", "[6]", "[8,32]"), &[0; 32]), "header is corrupt"),
        (safetensors(&entry("F32", "[6]", "[24,0]"), &[0; 24]), "header is corrupt"),
        (safetensors(&entry("F99", "[6]", "[0,24]"), &[0; 24]), "F99"),
        // A name that would recolour the terminal.
        (safetensors(r#"{"\u001b[31mt":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#, &[]), r"\u{1b}[31mt"),
    ];
    for (content, word) in files {
        folder.write("m.safetensors", &content);
        refuse(&folder, "m.safetensors:t", &[word]);
    }
    folder.write("m.safetensors", &good);
    refuse(&folder, "m.safetensors:u", &["`t`"]);
    folder.refuse(2, "apply layer --input m.safetensors --output y.npy", &["--input", "m.safetensors:NAME", "`t`"]);
    folder.refuse(2, "apply layer --input m.safetensors: --output y.npy", &["--input", "m.safetensors:NAME", "`t`"]);
    let many: Vec<String> =
        (10..30).map(|i| format!(r#""t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    folder.write("m.safetensors", &safetensors(&format!("{{{}}}", many.join(",")), &[]));
    refuse(&folder, "m.safetensors:t", &["20", "`t10`", "`t19`"]);
    assert!(!folder.run("apply layer --input m.safetensors:t --output y.npy").stderr.contains("`t20`"));
    refuse(&folder, "m.safetensors:tt27", &["it has 20, the nearest of them `t27`, "]);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Folder::new();
    fs::create_dir(folder.path("folder.npy")).expect("a folder");
    refuse(&folder, "gone.npy", &["no such file"]);
    folder.npy("there.npy", &[1], &[1.0_f32]);
    refuse(&folder, "there.npy:t", &["no such file; only a .safetensors file"]);
    refuse(&folder, "gone.safetensors:t", &["no such file"]);
    refuse(&folder, "folder.npy", &["directory"]);
    if cfg!(unix) {
        refuse(&folder, "/dev/null", &["not a regular file"]);
    }
    folder.npy("x.npy", &[6], &values(6));
    // Every input is named by its own argument.
    for option in ["--weight", "--bias", "--running-mean", "--running-var"] {
        let others = match option {
            "--running-mean" => "--running-var x.npy",
            "--running-var" => "--running-mean x.npy",
            _ => "--train",
        };
        let line = format!("apply batch --input x.npy {others} {option} gone.npy --output y.npy");
        folder.refuse(1, &line, &[option, "gone.npy"]);
    }
}

#[test]
fn outputs_are_written_all_or_none() {
    let folder = Folder::new();
    folder.npy("x.npy", &[2, 6], &values(12));
    folder.write("y.npy", b"former");
    fs::create_dir(folder.path("folder")).expect("a folder");
    let before = folder.files();
    // Wrong before anything is computed, and wrong after it is too late to be found out earlier.
    let runs = [
        ("--output y.npy --save-mean folder", ["--save-mean", "directory"]),
        ("--output y.npy --save-mean folder/", ["--save-mean", "directory"]),
        ("--output y.npy --save-rstd gone/r.npy", ["--save-rstd", "no directory `gone`"]),
        ("--output y.npy --save-rstd x.npy/r.npy", ["--save-rstd", "x.npy"]),
        ("--output y.npy --weight gone.npy", ["--weight", "gone.npy"]),
        ("--output y.npy --normalized-shape 5", ["--normalized-shape", "[5]"]),
    ];
    for (options, words) in runs {
        folder.refuse(1, &format!("apply layer --input x.npy {options}"), &words);
        assert_eq!(folder.files(), before, "{options}");
        assert_eq!(fs::read(folder.path("y.npy")).expect("y.npy"), b"former", "{options}");
    }
    for other in ["y.npy", "./y.npy", "folder/../y.npy"] {
        let line = format!("apply layer --input x.npy --output y.npy --save-mean {other}");
        folder.refuse(2, &line, &["--output", "--save-mean", "same file"]);
    }
    assert_eq!(fs::read(folder.path("y.npy")).expect("y.npy"), b"former");
    folder.succeed("apply layer --input x.npy --output y.npy --save-mean m.npy");
    assert_eq!(folder.read("y.npy").shape(), [2, 6]);
    assert_eq!(folder.files(), ["folder", "m.npy", "x.npy", "y.npy"]);
}

#[cfg(unix)]
#[test]
fn outputs_are_files_like_others() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = Folder::new();
    folder.npy("x.npy", &[2, 6], &values(12));
    let mode = |name: &str| fs::metadata(folder.path(name)).expect("a file").permissions().mode() & 0o777;
    let set = |name: &str, mode| {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).expect("permissions");
    };
    // A new one is as open as the umask lets it be, like the file that this test wrote.
    folder.succeed("apply layer --input x.npy --output y.npy");
    assert_eq!(mode("y.npy"), mode("x.npy"));
    // One that is replaced keeps its permissions.
    set("y.npy", 0o600);
    folder.succeed("apply layer --input x.npy --output y.npy");
    assert_eq!(mode("y.npy"), 0o600);
    set("y.npy", 0o444);
    folder.refuse(1, "apply layer --input x.npy --output y.npy", &["--output", "y.npy", "read-only"]);
    // A link is written through, whether or not it leads to a file already.
    symlink("behind.npy", folder.path("link.npy")).expect("a link");
    for _ in 0..2 {
        folder.succeed("apply layer --input x.npy --output link.npy");
        assert!(folder.path("link.npy").is_symlink());
        assert_eq!(folder.read("behind.npy"), folder.read("y.npy"));
    }
    let line = "apply layer --input x.npy --output behind.npy --save-mean link.npy";
    folder.refuse(2, line, &["--output", "--save-mean", "same file"]);
    symlink("around.npy", folder.path("around.npy")).expect("a link");
    folder.refuse(1, "apply layer --input x.npy --output around.npy", &["--output", "around.npy"]);
    folder.refuse(1, "apply layer --input x.npy --output /dev/null", &["--output", "not a regular file"]);
}

#[test]
fn names_may_have_spaces_and_any_letters() {
    let folder = Folder::new();
    folder.npy("ein Feld ∂.npy", &[2, 6], &values(12));
    let output = folder.command("apply layer").args(["--input", "ein Feld ∂.npy", "--output", "das Ergebnis"]).output();
    assert_eq!(Ended::of(output.expect("the command starts")).status, Some(0));
    assert_eq!(folder.read("das Ergebnis").shape(), [2, 6]);
}
