//! `wgpu-norm plan`: the plan that the library makes, and nothing else.

use wgpu_norm::{
    Backward, BatchNorm, Element, GroupNorm, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Norm, Plan, RmsNorm,
};

use crate::command::Folder;
use crate::support::gpu;

/// The command in words, and the norm whose gradients are planned.
fn backward_lines() -> Vec<(&'static str, Box<dyn Norm>, Backward)> {
    let images = [32, 64, 56, 56];
    let (computed, saved) = (Backward::new(), Backward::new().saved_statistics());
    let layer = || Box::new(LayerNorm::new(&[4096, 768], &[768]).unwrap());
    let batch = || BatchNorm::new(&images, 1).unwrap();
    vec![
        ("layer --shape 4096x768 --backward", layer(), computed),
        ("layer --shape 4096x768 --backward --saved-statistics", layer(), saved),
        (
            "rms --shape 6x8x64 --normalized-shape 8,64 --backward",
            Box::new(RmsNorm::new(&[6, 8, 64], &[8, 64]).unwrap()),
            computed,
        ),
        (
            "group --shape 8x6x6x64 --groups 16 --backward --saved-statistics",
            Box::new(GroupNorm::channels_last(&[8, 6, 6, 64], 16).unwrap()),
            saved,
        ),
        ("instance --shape 4x40x40x12 --backward", Box::new(InstanceNorm::new(&[4, 40, 40, 12], 3).unwrap()), computed),
        (
            "batch --shape 32x64x56x56 --channel-axis 1 --train --backward --saved-statistics",
            Box::new(batch().without_tracking()),
            saved,
        ),
        ("batch --shape 32x64x56x56 --channel-axis 1 --backward", Box::new(batch().eval()), computed),
    ]
}

/// Every line of the two lists with its plan, and whether it is backward.
fn planned() -> Vec<(&'static str, Plan, bool)> {
    let context = gpu().context();
    let forward = lines().into_iter().map(|(line, norm)| (line, context.plan(norm.as_ref()).unwrap(), false));
    let backward = backward_lines()
        .into_iter()
        .map(|(line, norm, wanted)| (line, context.plan_backward(norm.as_ref(), wanted).unwrap(), true));
    forward.chain(backward).collect()
}

/// The command in words, and the norm it is of.
fn lines() -> Vec<(&'static str, Box<dyn Norm>)> {
    let images = [32, 64, 56, 56];
    vec![
        ("layer --shape 4096x768", Box::new(LayerNorm::new(&[4096, 768], &[768]).unwrap())),
        ("rms --shape 6x8x64 --normalized-shape 8,64", Box::new(RmsNorm::new(&[6, 8, 64], &[8, 64]).unwrap())),
        ("group --shape 8x6x6x64 --groups 16", Box::new(GroupNorm::channels_last(&[8, 6, 6, 64], 16).unwrap())),
        (
            "batch --shape 32x64x56x56 --channel-axis 1 --train",
            Box::new(BatchNorm::new(&images, 1).unwrap().without_tracking()),
        ),
        ("batch --shape 32x64x56x56 --channel-axis 1 --train --track", Box::new(BatchNorm::new(&images, 1).unwrap())),
        ("batch --shape 32x64x56x56 --channel-axis 1", Box::new(BatchNorm::new(&images, 1).unwrap().eval())),
        ("layer --shape 4x3x8x8 --axes 1", Box::new(LayerNorm::over_axes(&[4, 3, 8, 8], &[1]).unwrap())),
        ("mvn --shape 4x3x8x8 --axes -2,-1", Box::new(MeanVarianceNorm::new(&[4, 3, 8, 8], &[2, 3]).unwrap())),
        ("lp --shape 20x12 --p 1 --axes 0", Box::new(LpNorm::l1(&[20, 12], &[0]).unwrap())),
        (
            "layer --shape 4096x768 --dtype f16",
            Box::new(LayerNorm::new(&[4096, 768], &[768]).unwrap().stored_as(Element::F16)),
        ),
        ("layer --shape 0x768", Box::new(LayerNorm::new(&[0, 768], &[768]).unwrap())),
    ]
}

#[test]
fn it_prints_the_plan_for_this_adapter() {
    let folder = Folder::new();
    for (line, plan, backward) in planned() {
        let ended = folder.succeed(&format!("plan {line}"));
        let text = &ended.stdout;
        assert!(text.starts_with(&format!("{plan}\n")), "{line}\n{text}");
        let tensors = if backward { "x, dy and dx" } else { "x and y" };
        assert!(text.contains(&format!(" {} bytes of {tensors}\n", plan.bytes_moved())), "{line}\n{text}");
        assert!(text.contains(&format!("scratch: {} bytes\n", plan.scratch_bytes())), "{line}\n{text}");
        let adapter = format!("\nadapter: {}\n\n", gpu().describe());
        let (_, legend) = text.split_once(&adapter).expect("the adapter, then a legend");
        // Of what the plan says, and of nothing else.
        let words = plan.to_string();
        for (term, said) in [
            ("block [B, R, K, S]", true),
            ("A x B invocations", !plan.passes().is_empty()),
            ("N to a tile", words.contains(" to a tile")),
            ("N across and M down", words.contains(" down")),
            ("by subgroup", words.contains("by subgroup")),
            ("by workgroup", words.contains("by workgroup")),
            ("N-wide", words.contains("-wide")),
            ("N windows", words.contains(" windows")),
        ] {
            let lines = legend.lines().filter(|line| line.trim_start().starts_with(&format!("{term}  "))).count();
            assert_eq!(lines, usize::from(said), "{line}: {term}\n{text}");
        }
        assert_eq!(ended.stderr, "", "{line}");
    }
    assert!(folder.files().is_empty());
}

#[test]
fn its_json_is_one_object() {
    let folder = Folder::new();
    for (line, plan, backward) in planned() {
        let object = folder.succeed(&format!("plan {line} --json")).json();
        assert_eq!(object["adapter"]["name"], gpu().adapter_info().name, "{line}");
        assert_eq!(object["norm"], plan.norm(), "{line}");
        assert_eq!(object["direction"], if backward { "backward" } else { "forward" }, "{line}");
        assert_eq!(object["shape"], serde_json::json!(plan.shape()), "{line}");
        assert_eq!(object["dtype"], if line.ends_with("f16") { "f16" } else { "f32" }, "{line}");
        assert_eq!(object["bytes_moved"], plan.bytes_moved(), "{line}");
        assert_eq!(object["scratch_bytes"], plan.scratch_bytes(), "{line}");
        assert_eq!(object["words"], plan.to_string(), "{line}");
        let block = plan.block();
        assert_eq!(object["block"], serde_json::json!([block.b, block.r, block.k, block.s]), "{line}");
        let passes = object["passes"].as_array().expect("a list");
        assert_eq!(passes.len(), plan.passes().len(), "{line}");
        for (told, pass) in passes.iter().zip(plan.passes()) {
            assert_eq!(told["kernel"], pass.name(), "{line}");
            assert_eq!(told["workgroups"], pass.workgroups(), "{line}");
            assert_eq!(told["workgroup_size"], pass.workgroup_size(), "{line}");
            assert_eq!(told["words"], pass.to_string(), "{line}");
        }
    }
}

#[test]
fn what_makes_no_plan_is_refused() {
    let folder = Folder::new();
    for (line, words) in [
        ("layer", ["--shape", "required"]),
        ("--shape 4x8", ["NORM", "required"]),
        ("layer --shape 4,8", ["--shape", "4096x768"]),
        ("layer --shape 4x-8", ["--shape", "4096x768"]),
        ("layer --shape 99999999999999999999x2", ["--shape", "must be nearer to 0"]),
        ("layer --shape 4x8 --groups 2", ["--groups", "group norm"]),
        ("layer --shape 4x8 --train", ["--train", "batch norm"]),
        ("batch --shape 4x8 --track", ["--track", "--train"]),
        ("layer --shape 4x8 --input x.npy", ["--input", "unexpected"]),
        ("mvn --shape 4x3x8x8 --backward", ["--backward", "mvn norm has no backward pass"]),
        ("lp --shape 4x8 --backward", ["--backward", "lp norm has no backward pass"]),
        ("layer --shape 4x8 --saved-statistics", ["--saved-statistics", "--backward"]),
        ("batch --shape 4x8 --backward --saved-statistics", ["--saved-statistics", "--train"]),
        ("batch --shape 4x8 --train --track --backward", ["--track", "--backward"]),
    ] {
        folder.refuse(2, &format!("plan {line}"), &words);
    }
    for (line, words) in [
        ("layer --shape 4x8 --normalized-shape 4", ["--normalized-shape", "[4, 8]"]),
        ("group --shape 4x8", ["--groups, of which 32 is the default", "8"]),
        ("instance --shape 4x8x3 --channel-axis 3", ["--channel-axis", "[4, 8, 3]"]),
        ("mvn --shape 4x8", ["--axes", "[4, 8]"]),
        ("layer --shape 65536x65536", ["--shape", "elements"]),
    ] {
        folder.refuse(1, &format!("plan {line}"), &words);
    }
}
