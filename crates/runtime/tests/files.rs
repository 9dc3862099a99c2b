//! Files: written and read back, documented, broken at any place.

mod common;

use std::path::Path;

use common::{description, every_kind, example, header, item, sealed, tokens, transformer, with_header};
use hardgrad_runtime::{Arithmetic, PackedError, PackedModel};
use proptest::prelude::*;
use serde_json::Value;

#[test]
fn models_of_every_width_and_kind_come_back_and_give_the_same_bytes() {
    let images = (1..=8).flat_map(|bits| (0..10).map(move |seed| every_kind(bits, seed)));
    let others = (0..10).flat_map(|seed| [tokens(seed), transformer(seed, false), transformer(seed, true)]);
    for model in images.chain(others).chain([example()]) {
        let file = model.to_bytes().unwrap();
        let read = PackedModel::from_bytes(&file).unwrap();
        assert_eq!(read, model);
        assert_eq!(read.to_bytes().unwrap(), file);
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
fn every_operator_is_documented() {
    let document = include_str!("../../../docs/packed-format.md");
    for kind in hardgrad_runtime::Op::KINDS {
        let rows = document.lines().filter(|line| line.starts_with(&format!("| `{kind}` |")));
        assert_eq!(rows.count(), 1, "{kind}");
    }
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
fn the_checksum_covers_every_byte() {
    let file = example().to_bytes().unwrap();
    assert_eq!(sealed(file.clone()), file);
    // The last byte is one of codes, which could be any.
    let mut changed = file.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(matches!(PackedModel::from_bytes(&changed), Err(PackedError::Checksum)));
    assert!(PackedModel::from_bytes(&sealed(changed)).is_ok());
    for wrong in ["", "625d", &"0".repeat(64)] {
        let (mut header, mut description) = (header(&file), description(&file));
        description["sha256"] = wrong.into();
        header["__metadata__"]["hardgrad"] = description.to_string().into();
        let error = PackedModel::from_bytes(&with_header(&file, &header)).unwrap_err();
        assert!(matches!(error, PackedError::Checksum), "{error}");
    }
}

#[test]
fn the_summary_counts_what_the_file_holds() {
    let model = example();
    let summary = model.summary();
    let kinds: Vec<_> = summary.iter().map(|node| node.kind).collect();
    assert_eq!(kinds, ["conv2d", "batch_norm", "relu", "quantize", "max_pool2d", "flatten", "linear"]);
    let conv = &summary[0];
    assert_eq!((&conv.output_shape[..], conv.parameters, conv.bytes), (&[2, 2, 2][..], 8, 1 + 8));
    assert_eq!((conv.weight_bits, conv.activation_bits, conv.multiply_accumulates), (Some(1), Some(8), 32));
    assert_eq!((conv.arithmetic, &conv.inputs[..]), (Arithmetic::Integer, &["input".to_string()][..]));
    let norm = &summary[1];
    assert_eq!((norm.parameters, norm.bytes, norm.arithmetic), (4, 16, Arithmetic::Float));
    let quantize = &summary[3];
    assert_eq!((quantize.parameters, quantize.bytes, quantize.activation_bits), (0, 4, None));
    assert_eq!((summary[4].activation_bits, summary[4].arithmetic), (Some(2), Arithmetic::Integer));
    let linear = &summary[6];
    assert_eq!((linear.parameters, linear.bytes, linear.multiply_accumulates), (6, 2 + 4 + 8, 4));
    assert_eq!((linear.weight_bits, linear.activation_bits), (Some(4), Some(2)));
    let mut broken = model;
    broken.tensors.remove("out.bias");
    assert!(broken.summary().is_empty());
}

#[test]
fn the_bytes_of_all_nodes_are_those_of_the_file() {
    for model in [example(), every_kind(3, 1), tokens(1), transformer(1, true)] {
        let file = model.to_bytes().unwrap();
        let tensors = file.len() - 8 - u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let summary = model.summary();
        // The scale of the pixels belongs to no node.
        assert_eq!(summary.iter().map(|node| node.bytes).sum::<usize>() + 4, tensors);
        for (node, summary) in model.description.nodes.iter().zip(&summary) {
            assert_eq!((&node.name, &node.inputs), (&summary.name, &summary.inputs));
        }
    }
    let floats = transformer(1, false).summary();
    let of = |name: &str| floats.iter().find(|node| node.name == name).unwrap();
    assert_eq!((of("embed").weight_bits, of("embed").arithmetic), (Some(4), Arithmetic::Integer));
    assert_eq!((of("qkv").weight_bits, of("qkv").activation_bits), (Some(32), None));
    assert_eq!((of("qkv").bytes, of("qkv").arithmetic), (4 * 36 * 12, Arithmetic::Float));
}

/// Reads what may be broken: an error, or a model that can be written and run.
fn read_and_run(file: &[u8]) {
    if let Ok(model) = PackedModel::from_bytes(file) {
        assert_eq!(PackedModel::from_bytes(&model.to_bytes().unwrap()).unwrap(), model);
        let summary = model.summary();
        assert_eq!(summary.len(), model.description.nodes.len());
        let values: usize = summary.iter().map(|node| node.output_shape.iter().product::<usize>()).sum();
        if values + item(&model) < 100_000 {
            match model.plan().unwrap().logits(&vec![7; item(&model)]) {
                Ok(logits) => assert_eq!(logits.len(), model.class_names.len()),
                Err(error) => assert!(matches!(error, PackedError::NotFinite { .. }), "{error}"),
            }
        }
    }
}

fn file(kind: u64) -> Vec<u8> {
    let model = match kind {
        0 => example(),
        1 => every_kind(2, 1),
        2 => every_kind(5, 2),
        3 => tokens(3),
        _ => transformer(4, true),
    };
    model.to_bytes().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn flipped_cut_and_inserted_bytes_never_panic(
        model in 0u64..5, place: prop::sample::Index, kind in 0..5, byte: u8, count in 1usize..40, seal: bool,
    ) {
        let mut file = file(model);
        let place = place.index(file.len());
        match kind {
            0 => file[place] ^= byte,
            1 => drop(file.drain(place..(place + count).min(file.len()))),
            2 => drop(file.splice(place..place, vec![byte; count])),
            3 => file[place % 8] = byte,
            _ => file.truncate(place),
        }
        read_and_run(&if seal { sealed(file) } else { file });
    }

    #[test]
    fn other_numbers_in_the_description_never_panic(
        model in 0u64..5,
        digits: prop::sample::Index,
        number in prop_oneof![
            3 => 0u64..20,
            1 => prop::sample::select(vec![255u64, 256, 1 << 28, 1 << 31, 1 << 62, u64::MAX]),
        ],
        negative in prop::bool::weighted(0.1),
    ) {
        let file = file(model);
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
        read_and_run(&sealed(with_header(&file, &header)));
    }

    #[test]
    fn other_edges_never_panic(model in 0u64..5, from: prop::sample::Index, to: prop::sample::Index) {
        let file = file(model);
        let (mut header, mut description) = (header(&file), description(&file));
        let nodes = description["network"]["node"].as_array_mut().unwrap();
        let (from, to) = (from.index(nodes.len()), to.index(nodes.len() + 1));
        let source = nodes.get(to).map_or_else(|| Value::from("input"), |node| node["name"].clone());
        match &mut nodes[from]["input"] {
            Value::Array(inputs) => inputs[0] = source,
            input => *input = source,
        }
        header["__metadata__"]["hardgrad"] = description.to_string().into();
        read_and_run(&sealed(with_header(&file, &header)));
    }
}
