//! Files: written and read back, documented, broken in every way.

mod common;

use std::path::Path;

use common::{description, every_kind, example, header, with_header};
use hardgrad_runtime::{Arithmetic, InputQuantizer, LayerKind, PackedError, PackedModel, Problem, TensorProblem};
use proptest::prelude::*;
use serde_json::Value;

/// The error after `change` was made to the description of the example.
fn error_after(change: impl FnOnce(&mut Value)) -> PackedError {
    let file = example().to_bytes().unwrap();
    let (mut header, mut description) = (header(&file), description(&file));
    change(&mut description);
    header["__metadata__"]["hardgrad"] = description.to_string().into();
    PackedModel::from_bytes(&with_header(&file, &header)).unwrap_err()
}

#[test]
fn models_of_every_width_and_kind_come_back_and_give_the_same_bytes() {
    for bits in 1..=8 {
        for seed in 0..10 {
            let model = every_kind(bits, seed);
            let file = model.to_bytes().unwrap();
            let read = PackedModel::from_bytes(&file).unwrap();
            assert_eq!(read, model);
            assert_eq!(read.to_bytes().unwrap(), file);
        }
    }
}

#[test]
fn the_documented_example_is_what_is_written() {
    let document = include_str!("../../../docs/packed-format.md");
    let documented = document.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let file = example().to_bytes().unwrap();
    assert_eq!(serde_json::from_str::<Value>(documented).unwrap(), description(&file));
    let mut found = 0;
    for line in document.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (name, rest) = line.split_once('`').unwrap();
        if let Some(info) = header(&file).get(name) {
            let dtype = info["dtype"].as_str().unwrap();
            let length = info["shape"][0].to_string();
            assert!(rest.contains(&format!("| {dtype} | {length} |")), "{name} is documented as {rest}");
            found += 1;
        }
    }
    assert_eq!(found, header(&file).as_object().unwrap().len() - 1);
}

#[test]
fn a_file_is_read_from_its_path() {
    // A folder of this build's own: others may use the system's at the same time.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("packed-{}.safetensors", std::process::id()));
    std::fs::write(&path, example().to_bytes().unwrap()).unwrap();
    let read = PackedModel::read(&path);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read.unwrap(), example());
    assert!(matches!(PackedModel::read(&path), Err(PackedError::Io { .. })));
    assert!(matches!(PackedModel::read(folder), Err(PackedError::NotAFile { .. })));
}

#[test]
fn other_files_and_versions_are_told_apart() {
    let file = example().to_bytes().unwrap();
    assert!(matches!(PackedModel::from_bytes(b"\x02\0\0\0\0\0\0\0{}"), Err(PackedError::NotPacked)));
    assert!(matches!(PackedModel::from_bytes(b"\x02\0\0\0\0\0\0\0{{"), Err(PackedError::Header(_))));
    let mut more = header(&file);
    more["__metadata__"]["other"] = "key".into();
    assert!(matches!(PackedModel::from_bytes(&with_header(&file, &more)), Err(PackedError::NotPacked)));
    assert!(matches!(error_after(|d| d["version"] = 2.into()), PackedError::Version { version: 2, .. }));
    assert!(matches!(error_after(|d| d["format"] = "other".into()), PackedError::Version { .. }));
}

#[test]
fn fields_that_are_not_documented_are_refused() {
    let broken: [fn(&mut Value); 5] = [
        |d| d["more"] = 1.into(),
        |d| d["input"]["more"] = 1.into(),
        |d| d["layers"][0]["more"] = 1.into(),
        |d| d["layers"][0]["input"]["more"] = 1.into(),
        |d| d["layers"][2]["more"] = 1.into(),
    ];
    for change in broken {
        let error = error_after(change);
        assert!(matches!(error, PackedError::Description(_)) && error.to_string().contains("more"), "{error}");
    }
}

#[test]
fn a_field_that_is_twice_in_the_description_is_refused() {
    let file = example().to_bytes().unwrap();
    let text = description(&file).to_string();
    for (after, field) in [
        ("{", "\"version\":1"),
        ("\"input\":{", "\"zero_point\":1"),
        ("\"layers\":[{", "\"name\":\"conv\""),
        ("\"layers\":[{", "\"kind\":\"conv2d\""),
        ("\"weight\":{", "\"bits\":1"),
        ("\"input\":{\"rule\":\"divide\",", "\"lowest\":-1"),
        ("\"input\":{\"rule\":\"divide\",", "\"rule\":\"divide\""),
    ] {
        let changed = text.replacen(after, &format!("{after}{field},"), 1);
        assert_ne!(changed, text, "{after} is not in the description");
        let mut header = header(&file);
        header["__metadata__"]["hardgrad"] = changed.into();
        let error = PackedModel::from_bytes(&with_header(&file, &header)).unwrap_err();
        assert!(matches!(error, PackedError::Description(_)), "{after} {field}: {error}");
        assert!(error.to_string().contains("duplicate field"), "{after} {field}: {error}");
    }
}

#[test]
fn tensors_must_be_what_the_description_says() {
    let problem = |change: fn(&mut Value)| match error_after(change) {
        PackedError::Tensor { tensor, problem } => (tensor, problem),
        other => panic!("{other}"),
    };
    let named = |name: &str, problem| (name.to_owned(), problem);
    assert_eq!(problem(|d| d["input"]["scale"] = "gone".into()), named("gone", TensorProblem::Missing));
    let unused = problem(|d| drop(d["layers"][5].as_object_mut().unwrap().remove("bias")));
    assert_eq!(unused, named("out.bias", TensorProblem::Unused));
    let shared = problem(|d| d["layers"][5]["bias"] = "norm.offset".into());
    assert_eq!(shared, named("norm.offset", TensorProblem::Shared));
    let (tensor, wrong) = problem(|d| d["layers"][5]["bias"] = "out.weight.codes".into());
    assert!(tensor == "out.weight.codes" && matches!(wrong, TensorProblem::Shared));
    let (_, wrong) = problem(|d| d["layers"][0]["weight"]["codes"] = "out.bias".into());
    assert!(matches!(wrong, TensorProblem::Type { expected: "U8", .. }));
    let wrong = problem(|d| d["layers"][0]["channels_out"] = 9.into());
    assert_eq!(wrong, named("conv.weight.codes", TensorProblem::Length { expected: 5, found: 1 }));
    let wrong = problem(|d| d["layers"][0]["weight"]["bits"] = 2.into());
    assert_eq!(wrong, named("conv.weight.codes", TensorProblem::Length { expected: 2, found: 1 }));
    let wrong = problem(|d| d["layers"][5]["input"]["scale"] = "norm.offset".into());
    assert!(matches!(wrong.1, TensorProblem::Shared | TensorProblem::Length { expected: 1, found: 2 }));
    // 7 codes of 1 bit fill a byte as 8 do, but the last bit is set.
    let padding = problem(|d| {
        d["layers"][0]["kernel"] = vec![7, 1].into();
        d["layers"][0]["channels_out"] = 1.into();
    });
    assert_eq!(padding, named("conv.weight.codes", TensorProblem::Padding));
}

#[test]
fn sizes_that_overflow_or_do_not_fit_name_the_layer() {
    let problem = |change: fn(&mut Value)| match error_after(change) {
        PackedError::Layer { layer, problem } => format!("{layer}: {problem}"),
        other => panic!("{other}"),
    };
    let overflow = "the sizes multiply to more than can be addressed";
    assert_eq!(problem(|d| d["layers"][5]["inputs"] = u64::MAX.into()), format!("out: {overflow}"));
    assert_eq!(problem(|d| d["layers"][0]["padding"][0] = u64::MAX.into()), format!("conv: {overflow}"));
    assert_eq!(problem(|d| d["layers"][0]["dilation"][0] = u64::MAX.into()), format!("conv: {overflow}"));
    let huge = problem(|d| d["layers"][0]["padding"][0] = (1u64 << 40).into());
    assert!(huge.starts_with("conv: one image would have"), "{huge}");
    assert!(problem(|d| d["layers"][0]["groups"] = 0.into()).starts_with("conv: channels, groups"));
    assert!(problem(|d| d["layers"][0]["stride"][1] = 0.into()).starts_with("conv: channels, groups"));
    assert!(problem(|d| d["layers"][3]["kernel"][1] = 3.into()).starts_with("pool: a kernel of extent 3"));
    assert!(problem(|d| d["layers"][0]["weight"]["bits"] = 9.into()).starts_with("conv: weight has 9 bits"));
    assert!(problem(|d| d["layers"][5]["input"]["bits"] = 0.into()).starts_with("out: input has 0 bits"));
    assert!(problem(|d| d["layers"][5]["input"]["highest"] = 4.into()).starts_with("out: input levels 0..=4"));
    assert!(problem(|d| d["layers"][5]["input"]["lowest"] = i32::MIN.into()).starts_with("out: input levels"));
    assert!(problem(|d| d["layers"][5]["weight"]["first"][0] = i32::MIN.into()).starts_with("out: weight codes mean"));
    assert!(problem(|d| d["layers"][5]["weight"]["step"] = i32::MAX.into()).starts_with("out: weight codes mean"));
    for (first, found) in [(vec![], 0), (vec![-8; 3], 3)] {
        let error = error_after(|d| d["layers"][5]["weight"]["first"] = first.into()).to_string();
        let mend = "give it 1 for all outputs, or 2, one an output channel";
        assert_eq!(error, format!("layer \"out\": weight first has {found} values; {mend}"));
    }
    assert!(matches!(error_after(|d| d["layers"][5]["weight"]["first"] = (-8).into()), PackedError::Description(_)));
    assert!(problem(|d| drop(d["layers"].as_array_mut().unwrap().remove(4))).starts_with("out: takes [features]"));
    let moved = problem(|d| d["layers"].as_array_mut().unwrap().swap(0, 4));
    assert!(moved.starts_with("norm: multiplier must have 9 values"), "{moved}");
    assert!(matches!(error_after(|d| d["input"]["height"] = 0.into()), PackedError::Input(_)));
    assert!(matches!(error_after(|d| d["input"]["height"] = u64::MAX.into()), PackedError::Input(_)));
    assert!(matches!(error_after(|d| d["layers"][1]["name"] = "conv".into()), PackedError::LayerName(_)));
    let classes = error_after(|d| d["class_names"] = vec!["cat"].into());
    assert!(matches!(classes, PackedError::Output { classes: 1, .. }));
}

#[test]
fn numbers_that_cannot_be_computed_with_are_refused() {
    let problem = |change: fn(&mut PackedModel)| {
        let mut model = example();
        change(&mut model);
        let error = model.to_bytes().unwrap_err().to_string();
        assert_eq!(model.plan().unwrap_err().to_string(), error);
        error
    };
    fn norm(model: &mut PackedModel) -> &mut Vec<f32> {
        let LayerKind::BatchNorm { multiplier, .. } = &mut model.layers[1].kind else { panic!() };
        multiplier
    }
    fn out(model: &mut PackedModel) -> (&mut hardgrad_runtime::Weight, &mut InputQuantizer, &mut Option<Vec<f32>>) {
        let LayerKind::Linear { weight, input, bias, .. } = &mut model.layers[5].kind else { panic!() };
        (weight, input, bias)
    }
    assert_eq!(problem(|m| m.input.scale = 0.0), "input: scale 0 is 0; it must be finite and above 0");
    assert_eq!(problem(|m| norm(m)[1] = f32::NAN), "layer \"norm\": multiplier 1 is NaN; it must be finite");
    assert!(problem(|m| out(m).0.scale = vec![1.0, -1.0]).starts_with("layer \"out\": weight scale 1 is -1"));
    assert!(problem(|m| out(m).0.scale = vec![1.0; 3]).starts_with("layer \"out\": weight scale must have 2"));
    assert!(problem(|m| out(m).0.scale = vec![1e-45]).contains("product of input scale and weight scale 0 is 0"));
    assert!(problem(|m| out(m).0.codes[2] = 16).contains("weight code 2 is 16"));
    let mut widest = example();
    out(&mut widest).0.first = vec![-255, 240];
    widest.plan().unwrap();
    for (first, index, number) in [(vec![-255, 241], 1, 241), (vec![-256, 240], 0, -256), (vec![241], 0, 241)] {
        out(&mut widest).0.first = first;
        let PackedError::Layer { problem, .. } = widest.plan().unwrap_err() else { panic!() };
        assert_eq!(problem, Problem::WeightLevels { index, first: number, step: 1 });
    }
    assert!(problem(|m| *out(m).2 = Some(vec![1.0])).contains("bias must have 2 values, and has 1"));
    assert!(problem(|m| *out(m).2 = Some(vec![1.0, f32::INFINITY])).contains("bias 1 is inf"));
    assert!(problem(|m| *out(m).1 = InputQuantizer::Pixels).contains("takes whole pixels"));
}

#[test]
fn a_sum_that_f32_does_not_hold_with_its_scale_and_bias_is_refused() {
    // The largest sum of channel 0 is (8 + 7) * 3 = 45, that of channel 1 is 3, and the input has the scale 0.5.
    let model = |scale: f32, bias: [f32; 2]| {
        let mut model = example();
        let LayerKind::Linear { weight, bias: old, .. } = &mut model.layers[5].kind else { panic!() };
        (weight.scale, *old) = (vec![scale], Some(bias.to_vec()));
        model
    };
    for (scale, bias) in [(1.5e37, [0.0; 2]), (1e37, [1e38, -3.2e38]), (1e20, [f32::MAX, f32::MIN])] {
        model(scale, bias).plan().unwrap();
    }
    for (scale, bias, channel, sum) in [
        (3e38, [0.0; 2], 0, 45),
        (1.6e37, [0.0; 2], 0, 45),
        (1.5e37, [-1e38, 0.0], 0, 45),
        (1e37, [0.0, f32::MAX], 1, 3),
        (1e37, [0.0, f32::MIN], 1, 3),
    ] {
        let error = model(scale, bias).plan().unwrap_err();
        let PackedError::Layer { layer, problem } = &error else { panic!("{error}") };
        assert_eq!((&layer[..], problem), ("out", &Problem::Overflow { channel, sum }), "{scale} {bias:?}");
        assert!(error.to_string().contains("give the weight or the input a smaller scale"), "{error}");
    }
}

#[test]
fn a_sum_that_could_leave_32_bits_is_refused_with_its_channel() {
    // 255 * 255 * 33,025 is just below 2^31, one more just above.
    let linear = |inputs: usize, bits: u32, first: &[i32], step: i32, codes: [u8; 2]| {
        let weight = hardgrad_runtime::Weight {
            bits,
            first: first.to_vec(),
            step,
            codes: codes.map(|code| vec![code; inputs]).concat(),
            scale: vec![1.0],
        };
        let kinds = [
            LayerKind::Flatten,
            LayerKind::Linear { weight, input: InputQuantizer::Pixels, bias: None, inputs, outputs: 2 },
        ];
        let named = |kind: LayerKind| hardgrad_runtime::Layer { name: kind.name().into(), kind };
        let input = hardgrad_runtime::Input { channels: 1, height: 1, width: inputs, scale: 1.0, zero_point: 0 };
        PackedModel::new(input, vec!["a".into(), "b".into()], kinds.map(named).to_vec())
    };
    for (bits, first, step, codes, last) in [
        (8, &[-255][..], 2, [127, 255], 65_025.0),
        (8, &[0, -255], 1, [1, 0], -65_025.0),
        (1, &[-128, 254], 1, [0, 1], 65_025.0),
    ] {
        let model = linear(33_025, bits, first, step, codes).unwrap();
        let logits = model.plan().unwrap().logits(&vec![255; 33_025]).unwrap();
        assert_eq!(logits[1], last * 33_025.0);
        let error = linear(33_026, bits, first, step, codes).unwrap_err();
        assert!(matches!(error, PackedError::AccumulatorOverflow { channel: 1, sum: 2_147_515_650, .. }), "{error}");
    }
}

#[test]
fn the_summary_counts_what_the_file_holds() {
    let model = example();
    let summary = model.summary();
    let kinds: Vec<_> = summary.iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, ["conv2d", "batch_norm", "relu", "max_pool2d", "flatten", "linear"]);
    let conv = &summary[0];
    assert_eq!((&conv.output_shape[..], conv.parameters, conv.bytes), (&[2, 2, 2][..], 8, 1 + 8));
    assert_eq!((conv.weight_bits, conv.activation_bits, conv.multiply_accumulates), (Some(1), Some(8), 32));
    assert_eq!(conv.arithmetic, Arithmetic::Integer);
    let linear = &summary[5];
    assert_eq!((linear.parameters, linear.bytes, linear.multiply_accumulates), (6, 2 + 4 + 8 + 4, 4));
    let file = model.to_bytes().unwrap();
    let tensors = file.len() - 8 - u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    // The scale of the pixels belongs to no layer.
    assert_eq!(summary.iter().map(|layer| layer.bytes).sum::<usize>() + 4, tensors);
    let mut broken = model;
    broken.layers.remove(4);
    assert_eq!(broken.summary().len(), 4);
}

#[test]
fn problems_can_be_matched_by_type() {
    let error = error_after(|d| d["layers"][5]["inputs"] = 1.into());
    assert!(
        matches!(&error, PackedError::Tensor { problem: TensorProblem::Length { expected: 1, found: 2 }, .. }),
        "{error}"
    );
    let mut model = example();
    let LayerKind::Conv2d { channels_in, .. } = &mut model.layers[0].kind else { panic!() };
    *channels_in = 3;
    let error = model.plan().unwrap_err();
    let PackedError::Layer { problem, .. } = error else { panic!("{error}") };
    assert_eq!(problem, Problem::Channels { expected: 3, found: 1 });
}

/// Reads what may be broken: an error, or a model that can be written and run.
fn read_and_run(file: &[u8]) {
    if let Ok(model) = PackedModel::from_bytes(file) {
        assert_eq!(PackedModel::from_bytes(&model.to_bytes().unwrap()).unwrap(), model);
        assert_eq!(model.summary().len(), model.layers.len());
        let image = model.input.channels * model.input.height * model.input.width;
        if image < 10_000 {
            model.plan().unwrap().logits(&vec![7; image]).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn flipped_cut_and_inserted_bytes_never_panic(
        seed in 0u64..4, place: prop::sample::Index, kind in 0..5, byte: u8, count in 1usize..40,
    ) {
        let mut file = if seed == 0 { example() } else { every_kind(seed as u32 * 2, seed) }.to_bytes().unwrap();
        let place = place.index(file.len());
        match kind {
            0 => file[place] ^= byte,
            1 => drop(file.drain(place..(place + count).min(file.len()))),
            2 => drop(file.splice(place..place, vec![byte; count])),
            3 => file[place % 8] = byte,
            _ => file.truncate(place),
        }
        read_and_run(&file);
    }

    #[test]
    fn other_numbers_in_the_description_never_panic(digits: prop::sample::Index, number in prop_oneof![
        Just(0u64), 1u64..20, Just(255), Just(256), Just(1 << 28), Just(1 << 31), Just(1 << 62), Just(u64::MAX),
    ], negative: bool) {
        let file = example().to_bytes().unwrap();
        let description = description(&file).to_string();
        // Each run of digits outside of names.
        let mut places = Vec::new();
        for (i, c) in description.char_indices() {
            let before = description[..i].chars().next_back();
            if c.is_ascii_digit() && before.is_some_and(|before| ":[,-".contains(before)) {
                let length = description[i..].find(|c: char| !c.is_ascii_digit()).unwrap();
                places.push(i..i + length);
            }
        }
        let mut changed = description.clone();
        let sign = if negative { "-" } else { "" };
        changed.replace_range(places[digits.index(places.len())].clone(), &format!("{sign}{number}"));
        let mut header = header(&file);
        header["__metadata__"]["hardgrad"] = changed.into();
        read_and_run(&with_header(&file, &header));
    }
}
