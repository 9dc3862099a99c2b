//! The operator contract: every case for an operator that exists holds.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use common::{check_failure, hardgrad, succeed, text};

/// Cases that the folder holds.
const CASES: usize = 218;

#[test]
fn every_case_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/operator_cases");
    let mut operators: BTreeSet<String> = BTreeSet::new();
    let mut ran = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata: BTreeMap<String, String> = metadata.metadata().clone().unwrap().into_iter().collect();
        run_case(&path, &bytes, &metadata);
        operators.insert(metadata["operator"].clone());
        ran += 1;
    }
    assert_eq!(ran, CASES);
    for line in succeed(&["op", "list"]).lines() {
        let name = line.split(':').next().unwrap();
        assert!(operators.contains(name), "no case for {name}");
    }
}

fn run_case(path: &Path, bytes: &[u8], metadata: &BTreeMap<String, String>) {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    let case = SafeTensors::deserialize(bytes).unwrap();
    let inputs = case.tensors().into_iter().filter_map(|(name, view)| {
        let name = name.strip_prefix("in.")?.to_string();
        Some((name, TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).unwrap()))
    });
    std::fs::write(&input, safetensors::serialize(inputs, None).unwrap()).unwrap();
    let mut arguments =
        vec!["op".to_string(), "run".into(), metadata["operator"].clone(), text(&input).into(), text(&output).into()];
    let keys: BTreeMap<String, Value> = serde_json::from_str(&metadata["set"]).unwrap();
    for (key, value) in keys {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        arguments.extend(["--set".to_string(), format!("{key}={value}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = hardgrad(&arguments).output().unwrap();
    if let Some(words) = metadata.get("expect_error") {
        let words: Vec<String> = serde_json::from_str(words).unwrap();
        check_failure(done, 2, &words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!output.exists(), "{}: an output was written", path.display());
        return;
    }
    assert!(done.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&done.stderr));
    let tolerance = |key: &str| metadata[key].parse::<f64>().unwrap();
    let (relative, absolute) = (tolerance("rtol"), tolerance("atol"));
    let bytes = std::fs::read(&output).unwrap();
    let found = SafeTensors::deserialize(&bytes).unwrap();
    for (name, expected) in case.tensors() {
        let Some(name) = name.strip_prefix("out.") else { continue };
        let found = found.tensor(name).unwrap_or_else(|_| panic!("{}: output {name} is missing", path.display()));
        assert_eq!((found.dtype(), found.shape()), (expected.dtype(), expected.shape()), "{}: {name}", path.display());
        let values = |view: &TensorView<'_>| -> Vec<f64> {
            match view.dtype() {
                Dtype::I64 => view.data().chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
                Dtype::F32 => view.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
                other => panic!("{}: {name} is {other:?}", path.display()),
            }
        };
        let (relative, absolute) = if found.dtype() == Dtype::I64 { (0.0, 0.0) } else { (relative, absolute) };
        for (index, (a, b)) in values(&found).into_iter().zip(values(&expected)).enumerate() {
            assert!(
                (a - b).abs() <= absolute + relative * b.abs(),
                "{}: {name}[{index}] is {a}, not {b}",
                path.display()
            );
        }
    }
}

#[test]
fn all_instruction_sets_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.safetensors");
    let (rows, columns) = (17, 59);
    let bytes = |count: usize, value: &dyn Fn(usize) -> f32| -> Vec<u8> {
        (0..count).flat_map(|index| value(index).to_le_bytes()).collect()
    };
    let wave = |scale: f32| bytes(rows * columns, &|index| (index as f32 * 0.7).sin() * scale);
    let (x, grad, one) = (wave(3.0), wave(1.0), bytes(1, &|_| 0.37));
    let uniform = bytes(rows * columns, &|index| (0.5 + index as f32) / (rows * columns) as f32);
    let sample = bytes(rows, &|index| (index * 7 % columns) as f32);
    let codebook = bytes(23 * columns, &|index| (index as f32 * 1.3).cos());
    let view = |shape: &[usize], bytes| TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
    let matrix: &[usize] = &[rows, columns];
    // Operator, what its inputs besides x and the gradient are, keys. The main input is called by its own name.
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a [usize], &'a [u8])], &'a [&'a str]);
    let cases: [Case<'_>; 13] = [
        ("fake_quant", "x", &[("scale", &[1], &one)], &["bits=4"]),
        ("lsq", "x", &[("scale", &[1], &one)], &["bits=4"]),
        ("sign", "x", &[], &["surrogate=tanh"]),
        ("sign", "x", &[], &["surrogate=swish_sign"]),
        ("dorefa_weight", "x", &[], &["bits=3"]),
        ("ternary_twn", "x", &[], &[]),
        ("threshold_mask", "x", &[("threshold", &[1], &one)], &["surrogate=ede", "t=2"]),
        ("soft_threshold", "x", &[("s", &[1], &one)], &[]),
        ("hard_concrete", "log_alpha", &[("uniform", matrix, &uniform)], &[]),
        ("gumbel_softmax", "logits", &[("uniform", matrix, &uniform)], &["tau=0.7", "hard=true"]),
        ("reinmax", "logits", &[("sample", &[rows], &sample)], &["tau=1.3"]),
        ("top_k_mask", "scores", &[("uniform", matrix, &uniform)], &["k=9", "tau=0.8"]),
        ("vector_quantize", "x", &[("codebook", &[23, columns], &codebook)], &["gradient=rotation"]),
    ];
    for (operator, main, others, keys) in cases {
        let mut inputs = vec![(main, view(matrix, &x)), ("grad", view(matrix, &grad))];
        inputs.extend(others.iter().map(|(name, shape, bytes)| (*name, view(shape, bytes))));
        std::fs::write(&input, safetensors::serialize(inputs, None).unwrap()).unwrap();
        let outputs = ["portable", "avx2", "avx512"].map(|level| {
            let output = folder.path().join(format!("{level}.safetensors"));
            let mut arguments = vec!["op", "run", operator, text(&input), text(&output)];
            arguments.extend(keys.iter().flat_map(|key| ["--set", *key]));
            let done = hardgrad(&arguments).env("HARDGRAD_SIMD", level).output().unwrap();
            assert!(done.status.success(), "{operator}: {}", String::from_utf8_lossy(&done.stderr));
            std::fs::read(output).unwrap()
        });
        assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "{operator}");
    }
}
