//! The operator contract: every case for an operator that exists holds, wrong calls are refused, and all names are documented.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;

use hardgrad_kernels::surrogate::Surrogate;
use hardgrad_lab::ESTIMATORS;
use hardgrad_lab::operators::OPERATORS;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use common::{check_failure, fail, hardgrad, succeed, text};

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

/// Name, shape and values.
type Input<'a> = (&'a str, &'a [usize], &'a [f32]);

const X: Input<'static> = ("x", &[2, 2], &[0.5, -0.25, 1.5, -3.0]);
const GRAD: Input<'static> = ("grad", &[2, 2], &[1.0, 2.0, -1.0, 0.5]);
const SCALE: Input<'static> = ("scale", &[1], &[0.5]);

fn write(path: &Path, inputs: &[Input<'_>]) {
    let bytes = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let bytes: Vec<Vec<u8>> = inputs.iter().map(|(_, _, values)| bytes(values)).collect();
    let views = inputs
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Runs an operator, and gives its outputs of floats too: none if there is no file of them.
fn run(operator: &str, inputs: &[Input<'_>], keys: &[&str]) -> (Output, BTreeMap<String, Vec<f32>>) {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    write(&input, inputs);
    let mut arguments = vec!["op", "run", operator, text(&input), text(&output)];
    arguments.extend(keys.iter().flat_map(|key| ["--set", *key]));
    let done = hardgrad(&arguments).output().unwrap();
    let Ok(bytes) = std::fs::read(&output) else { return (done, BTreeMap::new()) };
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let floats = tensors.tensors().into_iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    let floats = floats.map(|(name, view)| {
        let values = view.data().chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        (name, values.collect::<Vec<f32>>())
    });
    let floats = floats.collect();
    (done, floats)
}

/// The outputs of a call that must work.
fn outputs(operator: &str, inputs: &[Input<'_>], keys: &[&str]) -> BTreeMap<String, Vec<f32>> {
    let (done, outputs) = run(operator, inputs, keys);
    assert!(done.status.success(), "{operator} {keys:?}: {}", String::from_utf8_lossy(&done.stderr));
    outputs
}

fn refused(operator: &str, inputs: &[Input<'_>], keys: &[&str], words: &[&str]) {
    let (done, outputs) = run(operator, inputs, keys);
    check_failure(done, 2, words);
    assert!(outputs.is_empty(), "{operator} {keys:?}: an output was written");
}

#[test]
fn keys_that_do_nothing_are_refused() {
    let threshold: Input<'_> = ("threshold", &[1], &[0.4]);
    let sign = |keys: &[&str], words: &[&str]| refused("sign", &[X, GRAD], keys, words);
    sign(&["surrogate=tanh", "beta=3"], &["key beta", "surrogate=tanh, which takes none"]);
    sign(&["beta=5"], &["key beta", "surrogate=identity"]);
    sign(&["surrogate=ede", "t=2", "beta=5"], &["key beta", "surrogate=ede, which takes t"]);
    sign(&["surrogate=arctan", "t=2"], &["key t", "surrogate=arctan"]);
    sign(&["surrogate=ede"], &["key t is missing"]);
    sign(&["surrogate=ede", "t=0"], &["t must be a number above 0", "\"0\""]);
    sign(&["surrogate=tanh", "surrogate=relu"], &["surrogate is given twice"]);
    sign(&["surrogate=wavy", "beta=3"], &["surrogate must be identity", "wavy"]);
    refused("threshold_mask", &[X, GRAD, threshold], &["surrogate=swish_sign", "t=2"], &["key t", "which takes beta"]);
    refused("fake_quant", &[X, GRAD, SCALE], &["bits=4", "axis=0"], &["key axis", "one scale"]);
    refused("lsq", &[X, GRAD, SCALE], &["bits=4", "axis=1"], &["key axis", "one scale"]);
    refused("lsq", &[X, GRAD, SCALE], &["bits=4", "axis=2"], &["axis must be", "below 2"]);
    let narrow = ["bits=4", "signed=false", "narrow=true"];
    refused("fake_quant", &[X, GRAD, SCALE], &narrow, &["key narrow", "signed=false"]);

    outputs("sign", &[X, GRAD], &["surrogate=swish_sign", "beta=3"]);
    outputs("fake_quant", &[X, GRAD, SCALE], &["bits=4", "signed=false", "narrow=false"]);
    // The axis has one index, which has one scale.
    let (x, grad): (Input<'_>, Input<'_>) = (("x", &[1, 4], X.2), ("grad", &[1, 4], GRAD.2));
    outputs("fake_quant", &[x, grad, SCALE], &["bits=4", "axis=0"]);
}

#[test]
fn codes_that_cannot_be_are_refused() {
    let with = |zero_point: &[f32], keys: &[&str], words: &[&str]| {
        refused("fake_quant", &[X, GRAD, SCALE, ("zero_point", &[1], zero_point)], keys, words);
    };
    with(&[16.0], &["bits=4", "signed=false"], &["zero_point", "from 0 to 15", "\"16\""]);
    with(&[-1.0], &["bits=4", "signed=false"], &["zero_point", "from 0 to 15"]);
    with(&[-9.0], &["bits=4"], &["zero_point", "from -8 to 7"]);
    with(&[-4.0], &["bits=3", "narrow=true"], &["zero_point", "from -3 to 3"]);
    with(&[0.5], &["bits=4"], &["zero_point", "a whole number"]);
    refused("fake_quant", &[X, GRAD, SCALE], &["bits=1", "narrow=true"], &["narrow", "bits=1"]);
    refused("lsq", &[X, GRAD, SCALE], &["bits=1"], &["bits", "from 2", "signed=true"]);
    for zero_point in [0.0, 15.0] {
        let zero_point: Input<'_> = ("zero_point", &[1], &[zero_point]);
        outputs("fake_quant", &[X, GRAD, SCALE, zero_point], &["bits=4", "signed=false"]);
    }
}

#[test]
fn arctan_is_a_surrogate_like_the_others() {
    let found = outputs("sign", &[X, GRAD], &["surrogate=arctan"]);
    assert_eq!(found["y"], [1.0, -1.0, 1.0, -1.0]);
    let derivative = |x: f32| 1.0 / (1.0 + (std::f64::consts::PI * f64::from(x)).powi(2));
    for ((found, x), gradient) in found["grad_x"].iter().zip(X.2).zip(GRAD.2) {
        let expected = f64::from(*gradient) * derivative(*x);
        assert!((f64::from(*found) - expected).abs() < 1e-6, "at {x}: {found}, expected {expected}");
    }
}

#[test]
fn shares_of_counts_are_those_on_paper() {
    let ones = [1.0f32; 10];
    for count in [3, 5, 7, 10usize] {
        let (shape, values) = ([count], &ones[..count]);
        let inputs: [Input<'_>; 3] = [("x", &shape, values), ("scores", &shape, values), ("grad", &shape, values)];
        for dropped in 0..=count {
            let keep = format!("keep={}", (count - dropped) as f64 / count as f64);
            let kept = outputs("score_mask", &inputs, &[keep.as_str()])["y"].iter().filter(|y| **y == 1.0).count();
            assert_eq!(kept, count - dropped, "{keep} of {count}");
        }
    }
}

#[test]
fn an_overflow_says_which_way_to_go() {
    let small: Input<'_> = ("x", &[2, 2], &[1e-42, -1e-42, 0.0, 0.0]);
    let message = ["grad_x is not finite", "make x larger", "1e-42"];
    refused("dorefa_weight", &[small, GRAD], &["bits=2"], &message);
    fn one(name: &str) -> Input<'_> {
        (name, &[1], &[1.0])
    }
    let large: Input<'_> = ("s_im", &[1], &[3e38]);
    let inputs = [one("s_pred"), one("s_m2"), one("s_m3"), large, one("grad")];
    refused("token_score", &inputs, &["beta=1"], &["y is not finite", "make s_im smaller", "3e38"]);
}

#[test]
fn a_damaged_file_is_a_failure_and_not_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    write(&input, &[X, GRAD]);
    let whole = std::fs::read(&input).unwrap();
    let call = ["op", "run", "round", text(&input), text(&output)];
    for length in [0, 7, 20, whole.len() - 1] {
        std::fs::write(&input, &whole[..length]).unwrap();
        fail(&call, 1, &["in.safetensors", "not a safetensors file"]);
    }
    std::fs::remove_file(&input).unwrap();
    fail(&call, 1, &["in.safetensors", "check the path"]);
    assert!(!output.exists());
}

#[test]
fn the_list_says_what_each_key_can_be() {
    let list = succeed(&["op", "list"]);
    assert_eq!(list.lines().count(), OPERATORS.len());
    let line = |name: &str| list.lines().find(|line| line.starts_with(&format!("{name}: "))).unwrap();
    for surrogate in Surrogate::ALL {
        assert!(line("sign").contains(surrogate.name()) && line("threshold_mask").contains(surrogate.name()));
    }
    assert!(line("sign").contains("beta=5 (a number above 0, only with surrogate=swish_sign)"), "{}", line("sign"));
    assert!(line("fake_quant").contains("rule=clipped (clipped or identity)"), "{}", line("fake_quant"));
    assert!(line("vector_quantize").contains("gradient=ste (ste or rotation)"), "{}", line("vector_quantize"));
    assert!(line("score_mask").contains("keep (a share from 0 to 1)"), "{}", line("score_mask"));

    let json: Value = serde_json::from_str(&succeed(&["op", "list", "--json"])).unwrap();
    let operators = json.as_array().unwrap();
    let sign = operators.iter().find(|operator| operator["name"] == "sign").unwrap();
    let surrogate = &sign["keys"][0];
    assert!(surrogate["name"] == "surrogate" && surrogate["default"] == "identity", "{surrogate}");
    let names: Vec<&str> = Surrogate::ALL.iter().map(|surrogate| surrogate.name()).collect();
    assert_eq!(surrogate["words"], serde_json::json!(names));
    // What the list says is what is read.
    for operator in operators {
        for key in operator["keys"].as_array().unwrap() {
            let (operator, name) = (operator["name"].as_str().unwrap(), key["name"].as_str().unwrap());
            if !key["words"].as_array().unwrap().is_empty() {
                let words = [name, key["expected"].as_str().unwrap(), "\"no_such_word\""];
                refused(operator, &[], &[format!("{name}=no_such_word").as_str()], &words);
            }
        }
    }
}

#[test]
fn the_page_about_operators_knows_every_name_and_picture() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = std::fs::read_to_string(docs.join("operators.md")).unwrap();
    for name in OPERATORS.iter().map(|operator| operator.name) {
        assert!(
            page.contains(&format!("`{name}`")) || page.contains(&format!("::{name}`")),
            "docs/operators.md: operator {name} is missing"
        );
    }
    for name in Surrogate::ALL.iter().map(|surrogate| surrogate.name()) {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/operators.md: no row of the surrogate {name}"));
        assert!(row.contains(&format!("(plots/sign_{name}.svg)")), "surrogate {name}: {row}");
    }
    let (_, estimators) = page.split_once("## Random choices").unwrap();
    for name in ESTIMATORS.iter().map(|entry| entry.name) {
        assert!(estimators.contains(&format!("`{name}`")), "docs/operators.md: estimator {name} is missing");
    }
    for picture in page.split("(plots/").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(
            docs.join("plots").join(picture).is_file(),
            "docs/plots/{picture} is missing: `hardgrad plots --out docs/plots`"
        );
    }
}

#[test]
fn tensors_without_values_may_not_claim_vast_axes() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    let view = TensorView::new(Dtype::F32, vec![0, 1 << 40], &[]).unwrap();
    std::fs::write(&input, safetensors::serialize([("scores", &view), ("grad", &view)], None).unwrap()).unwrap();
    fail(
        &["op", "run", "top_k_mask", text(&input), text(&output), "--set", "k=1", "--set", "tau=1"],
        1,
        &["1099511627776"],
    );
}
