//! Files and models that are refused, each with the place and the reason.

mod common;

use common::{codes, description, example, floats, header, model, with_header};
use hardgrad_kernels::geometry::GeometryError;
use hardgrad_runtime::ops::{Conv2d, Quantize};
use hardgrad_runtime::{
    DescriptionError, Op, PackedError, PackedModel, Pixels, Problem, Stored, TensorProblem, Weight,
};
use serde_json::{Value, json};

/// The error after `change` was made to the description of the example.
fn error_after(change: impl FnOnce(&mut Value)) -> PackedError {
    let file = example().to_bytes().unwrap();
    let (mut header, mut description) = (header(&file), description(&file));
    change(&mut description);
    header["__metadata__"]["hardgrad"] = description.to_string().into();
    PackedModel::from_bytes(&with_header(&file, &header)).unwrap_err()
}

/// Node `place` of a description: 0 conv, 1 norm, 2 relu, 3 relu.quantizer, 4 pool, 5 flatten, 6 out.
fn node(description: &mut Value, place: usize) -> &mut Value {
    &mut description["network"]["node"][place]
}

#[test]
fn other_files_and_versions_are_told_apart() {
    let file = example().to_bytes().unwrap();
    assert!(matches!(PackedModel::from_bytes(b"\x02\0\0\0\0\0\0\0{}"), Err(PackedError::NotPacked)));
    assert!(matches!(PackedModel::from_bytes(b"\x02\0\0\0\0\0\0\0{{"), Err(PackedError::Header(_))));
    let mut more = header(&file);
    more["__metadata__"]["other"] = "key".into();
    assert!(matches!(PackedModel::from_bytes(&with_header(&file, &more)), Err(PackedError::NotPacked)));
    assert!(matches!(error_after(|d| d["version"] = 0.into()), PackedError::Version { version: 0, .. }));
    assert!(matches!(error_after(|d| d["version"] = 3.into()), PackedError::Version { version: 3, .. }));
    assert!(matches!(error_after(|d| d["format"] = "other".into()), PackedError::Version { .. }));
    // A description of one version is none of the other.
    assert!(matches!(error_after(|d| d["version"] = 1.into()), PackedError::Description(_)));
    let message = error_after(|d| d["version"] = 3.into()).to_string();
    assert!(message.ends_with("this program reads \"hardgrad packed model\" of versions 1 to 2"), "{message}");
}

#[test]
fn fields_that_are_not_documented_are_refused() {
    let broken: [fn(&mut Value); 7] = [
        |d| d["more"] = 1.into(),
        |d| d["pixels"]["more"] = 1.into(),
        |d| d["network"]["more"] = 1.into(),
        |d| d["network"]["input"]["more"] = 1.into(),
        |d| node(d, 0)["more"] = 1.into(),
        |d| node(d, 2)["more"] = 1.into(),
        |d| d["codes"]["out.weight"]["more"] = 1.into(),
    ];
    for change in broken {
        let error = error_after(change);
        assert!(matches!(error, PackedError::Description(_)) && error.to_string().contains("more"), "{error}");
    }
    for field in ["pixels", "class_names", "network", "codes", "sha256"] {
        let error = error_after(|d| drop(d.as_object_mut().unwrap().remove(field)));
        assert!(matches!(error, PackedError::Description(_)) && error.to_string().contains(field), "{error}");
    }
}

#[test]
fn a_field_that_is_twice_in_the_description_is_refused() {
    let file = example().to_bytes().unwrap();
    let text = description(&file).to_string();
    for (after, field) in [
        ("{", "\"version\":2"),
        ("\"pixels\":{", "\"zero_point\":1"),
        ("\"network\":{", "\"node\":[]"),
        ("\"network\":{\"input\":{", "\"shape\":[1]"),
        ("\"node\":[{", "\"name\":\"conv\""),
        ("\"node\":[{", "\"kernel\":3"),
        ("\"codes\":{", "\"out.weight\":{\"bits\":4,\"first\":[-8],\"step\":1}"),
        ("\"out.weight\":{", "\"bits\":1"),
    ] {
        let changed = text.replacen(after, &format!("{after}{field},"), 1);
        assert_ne!(changed, text, "{after} is not in the description");
        let mut header = header(&file);
        header["__metadata__"]["hardgrad"] = changed.into();
        let error = PackedModel::from_bytes(&with_header(&file, &header)).unwrap_err();
        assert!(matches!(error, PackedError::Description(_)), "{after} {field}: {error}");
        let text = error.to_string();
        assert!(text.contains("duplicate field") || text.contains(" twice"), "{after} {field}: {error}");
    }
}

#[test]
fn tensors_must_be_what_the_description_says() {
    let problem = |change: fn(&mut Value)| match error_after(change) {
        PackedError::Tensor { tensor, problem } => (tensor, problem),
        other => panic!("{other}"),
    };
    let named = |name: &str, problem| (name.to_owned(), problem);
    assert_eq!(problem(|d| d["pixels"]["scale"] = "gone".into()), named("gone", TensorProblem::Missing));
    assert_eq!(problem(|d| node(d, 6)["bias"] = false.into()), named("out.bias", TensorProblem::Unused));
    assert_eq!(problem(|d| node(d, 0)["bias"] = true.into()), named("conv.bias", TensorProblem::Missing));
    let shared = problem(|d| d["pixels"]["scale"] = "relu.quantizer.scale".into());
    assert_eq!(shared, named("relu.quantizer.scale", TensorProblem::Shared));
    let wrong = problem(|d| d["pixels"]["scale"] = "norm.offset".into());
    assert_eq!(wrong, named("norm.offset", TensorProblem::Length { expected: 1, found: 2 }));
    let (tensor, wrong) = problem(|d| d["pixels"]["scale"] = "conv.weight.codes".into());
    assert!(tensor == "conv.weight.codes" && matches!(wrong, TensorProblem::Type { expected: "F32", .. }));
    // Codes where floats are, and floats where codes are.
    let missing = problem(|d| d["codes"]["norm.offset"] = json!({"bits": 1, "first": [0], "step": 1}));
    assert_eq!(missing, named("norm.offset.codes", TensorProblem::Missing));
    let missing = problem(|d| drop(d["codes"].as_object_mut().unwrap().remove("conv.weight")));
    assert_eq!(missing, named("conv.weight", TensorProblem::Missing));
    let wrong = problem(|d| {
        node(d, 0)["channels"] = 9.into();
    });
    assert_eq!(wrong, named("conv.weight.codes", TensorProblem::Length { expected: 5, found: 1 }));
    let wrong = problem(|d| d["codes"]["conv.weight"]["bits"] = 2.into());
    assert_eq!(wrong, named("conv.weight.codes", TensorProblem::Length { expected: 2, found: 1 }));
    let wrong = problem(|d| node(d, 6)["outputs"] = 1.into());
    assert_eq!(wrong, named("out.weight.codes", TensorProblem::Length { expected: 1, found: 2 }));
    // 4 codes of 1 bit fill a byte as 8 do, but later bits are set.
    let padding = problem(|d| node(d, 0)["channels"] = 1.into());
    assert_eq!(padding, named("conv.weight.codes", TensorProblem::Padding));
    let stranger = error_after(|d| d["codes"]["other.weight"] = json!({"bits": 1, "first": [0], "step": 1}));
    assert!(matches!(&stranger, PackedError::Stranger { tensor } if tensor == "other.weight"), "{stranger}");
}

#[test]
fn tensors_must_have_the_type_and_the_length_of_their_place() {
    let file = example().to_bytes().unwrap();
    let exchanged = |a: &str, b: &str| {
        let mut header = header(&file);
        let entry = header[a].clone();
        header[a] = header[b].clone();
        header[b] = entry;
        PackedModel::from_bytes(&with_header(&file, &header)).unwrap_err()
    };
    let error = exchanged("conv.weight.codes", "relu.quantizer.scale");
    let expected = "tensor \"conv.weight.codes\" must have the type U8 and one dimension, and has F32 [1]";
    assert_eq!(error.to_string(), expected);
    let error = exchanged("out.bias", "out.weight.scale").to_string();
    assert_eq!(error, "node out: bias must have 2 values, and has 1");
    let error = exchanged("relu.quantizer.scale", "norm.offset").to_string();
    assert_eq!(error, "node norm: offset must have 2 values, and has 1");
    let mut flat = header(&file);
    flat["out.bias"]["shape"] = vec![1, 2].into();
    let error = PackedModel::from_bytes(&with_header(&file, &flat)).unwrap_err().to_string();
    assert_eq!(error, "tensor \"out.bias\" must have the type F32 and one dimension, and has F32 [1, 2]");
}

#[test]
fn networks_that_do_not_fit_name_the_node() {
    let problem = |change: fn(&mut Value)| error_after(change).to_string();
    let overflow = "the sizes multiply to more than can be addressed";
    assert_eq!(problem(|d| node(d, 0)["padding"] = u64::MAX.into()), format!("node conv: {overflow}"));
    assert_eq!(problem(|d| node(d, 0)["dilation"] = u64::MAX.into()), format!("node conv: {overflow}"));
    let huge: [fn(&mut Value); 3] = [
        |d| node(d, 0)["padding"] = (1u64 << 28).into(),
        |d| node(d, 0)["channels"] = (1u64 << 28).into(),
        |d| node(d, 6)["outputs"] = u64::MAX.into(),
    ];
    for change in huge {
        let huge = problem(change);
        assert!(huge.contains(": one item would have "), "{huge}");
    }
    let parameters = problem(|d| node(d, 6)["outputs"] = (1u64 << 28).into());
    assert!(parameters.starts_with("node out: the nodes up to here have "), "{parameters}");
    let later = problem(|d| node(d, 1)["input"] = "relu".into());
    assert!(later.starts_with("node norm: it reads \"relu\", which does not stand before it"), "{later}");
    let itself = problem(|d| node(d, 1)["input"] = "norm".into());
    assert!(itself.starts_with("node norm: it reads \"norm\", which does not stand before it"), "{itself}");
    let unknown = problem(|d| node(d, 1)["input"] = "cnv".into());
    assert_eq!(unknown, "node norm: it reads \"cnv\", which is no node; did you mean conv?");
    assert!(problem(|d| node(d, 1)["name"] = "conv".into()).starts_with("node name \"conv\" is used twice"));
    let clash = problem(|d| node(d, 1)["name"] = "conv.weight".into());
    assert!(clash.starts_with("node name \"conv.weight\" is that of a tensor of node conv"), "{clash}");
    assert!(
        problem(|d| node(d, 1)["name"] = "r.quantizer.scale".into())
            .starts_with("node name \"r.quantizer.scale\" cannot be")
    );
    assert!(problem(|d| node(d, 1)["name"] = "in put".into()).starts_with("node name \"in put\" cannot be"));
    assert!(problem(|d| node(d, 1)["op"] = "batchnorm".into()).contains("did you mean batch_norm?"));
    assert!(problem(|d| d["network"]["node"] = json!([])).starts_with("there is no node"));
    assert!(problem(|d| node(d, 3)["bits"] = 0.into()).starts_with("node relu.quantizer: quantize has 0 bits"));
    assert!(problem(|d| node(d, 3)["highest"] = 4.into()).starts_with("node relu.quantizer: levels 0..=4"));
    assert!(problem(|d| node(d, 3)["lowest"] = i32::MIN.into()).starts_with("node relu.quantizer: levels"));
    assert!(problem(|d| d["codes"]["conv.weight"]["bits"] = 9.into()).starts_with("node conv: weight has 9 bits"));
    let weight = |change: fn(&mut Value)| error_after(|d| change(&mut d["codes"]["out.weight"])).to_string();
    assert!(weight(|w| w["first"][0] = i32::MIN.into()).starts_with("node out: weight codes mean"));
    assert!(weight(|w| w["step"] = i32::MAX.into()).starts_with("node out: weight codes mean"));
    let mend = "give it 1 for all outputs, or 2, one an output channel";
    assert_eq!(weight(|w| w["first"] = json!([])), format!("node out: weight first has 0 values; {mend}"));
    assert_eq!(weight(|w| w["first"] = json!([-8, -8, -8])), format!("node out: weight first has 3 values; {mend}"));
    let real = problem(|d| node(d, 4)["input"] = "relu".into());
    assert!(real.starts_with("node out: its weight is codes, but what it reads is real numbers"), "{real}");
    assert!(problem(|d| d["network"]["rule"] = json!([{"nodes": "*"}])).contains("has no rules"));
    for shape in [json!([1, 0, 3]), json!([1, u64::MAX, 3]), json!([])] {
        let error = error_after(|d| d["network"]["input"]["shape"] = shape);
        assert!(matches!(error, PackedError::Network(DescriptionError::Input { .. })), "{error}");
    }
    let classes = error_after(|d| d["class_names"] = json!(["cat"]));
    assert!(matches!(classes, PackedError::Output { classes: 1, .. }));
}

fn weight(model: &mut PackedModel) -> &mut Weight {
    let Some(Stored::Codes(weight)) = model.tensors.get_mut("out.weight") else { panic!() };
    weight
}

#[test]
fn numbers_that_cannot_be_computed_with_are_refused() {
    let problem = |change: fn(&mut PackedModel)| {
        let mut model = example();
        change(&mut model);
        let error = model.to_bytes().unwrap_err().to_string();
        assert_eq!(model.plan().unwrap_err().to_string(), error);
        assert!(model.summary().is_empty());
        error
    };
    fn set(model: &mut PackedModel, tensor: &str, stored: Stored) {
        model.tensors.insert(tensor.into(), stored);
    }
    assert_eq!(problem(|m| m.pixels.scale = 0.0), "pixels: scale 0 is 0; it must be finite and above 0");
    assert!(problem(|m| m.pixels.scale = f32::NAN).starts_with("pixels: scale 0 is NaN"));
    let multiplier = problem(|m| set(m, "norm.multiplier", floats(&[1.0, f32::NAN])));
    assert_eq!(multiplier, "node norm: multiplier 1 is NaN; it must be finite");
    assert!(problem(|m| weight(m).scale = vec![1.0, -1.0]).starts_with("node out: weight scale 1 is -1"));
    assert!(problem(|m| weight(m).scale = vec![1.0; 3]).starts_with("node out: weight scale must have 2"));
    assert!(problem(|m| weight(m).scale = vec![1e-45]).contains("product of input scale and weight scale 0 is 0"));
    assert!(problem(|m| weight(m).codes[2] = 16).contains("weight code 2 is 16"));
    assert!(problem(|m| weight(m).bits = 9).starts_with("node out: weight has 9 bits"));
    assert!(problem(|m| weight(m).codes.truncate(3)).starts_with("node out: weight must have 4 values, and has 3"));
    assert!(problem(|m| set(m, "out.bias", floats(&[1.0]))).contains("bias must have 2 values, and has 1"));
    assert!(problem(|m| set(m, "out.bias", floats(&[1.0, f32::INFINITY]))).contains("bias 1 is inf"));
    assert!(problem(|m| set(m, "out.weight", floats(&[1.0, 2.0, f32::NAN, 3.0]))).contains("weight 2 is NaN"));
    let scale = problem(|m| set(m, "relu.quantizer.scale", floats(&[-1.0])));
    assert_eq!(scale, "node relu.quantizer: scale 0 is -1; it must be finite and above 0");
    assert!(problem(|m| set(m, "relu.quantizer.scale", floats(&[]))).contains("scale must have 1 values, and has 0"));
    let coded = problem(|m| set(m, "norm.offset", codes(1, &[0], 1, &[0, 1], &[1.0])));
    assert!(coded.starts_with("node norm: offset is stored as codes"), "{coded}");
    assert!(problem(|m| drop(m.tensors.remove("out.bias"))).starts_with("the model has no tensor \"out.bias\""));
    let stranger = problem(|m| set(m, "other.bias", floats(&[1.0])));
    assert_eq!(stranger, "tensor \"other.bias\" belongs to no node of the model");
    assert!(problem(|m| drop(m.class_names.pop())).starts_with("the last node gives [2], but there are 1 classes"));
    // The outputs must be real numbers.
    let output = problem(|m| {
        let mut last = m.description.nodes[6].clone();
        (last.name, last.inputs) = ("codes".into(), vec!["out".into()]);
        last.op = Quantize { bits: 1, lowest: 0, highest: 1, multiply: false }.into();
        m.description.nodes.push(last);
        set(m, "codes.scale", floats(&[1.0]));
    });
    assert!(output.contains("it must give one real value a class"), "{output}");
}

#[test]
fn whole_numbers_of_weights_have_limits() {
    let mut widest = example();
    weight(&mut widest).first = vec![-255, 240];
    widest.plan().unwrap();
    for (first, index, number) in [(vec![-255, 241], 1, 241), (vec![-256, 240], 0, -256), (vec![241], 0, 241)] {
        weight(&mut widest).first = first;
        let PackedError::Network(DescriptionError::Node { problem, .. }) = widest.plan().unwrap_err() else { panic!() };
        assert_eq!(problem, Problem::WeightLevels { index, first: number, step: 1 });
    }
    let mut groups = example();
    groups.description.nodes[0].op = Op::from(Conv2d { groups: 3, bias: false, ..Conv2d::new(2, [2, 2]) });
    let PackedError::Network(DescriptionError::Node { node, problem }) = groups.plan().unwrap_err() else { panic!() };
    assert_eq!(node, "conv");
    assert_eq!(problem, Problem::Geometry(GeometryError::Groups { groups: 3, channels_in: 1, channels_out: 2 }));
}

#[test]
fn a_sum_that_f32_does_not_hold_with_its_scale_and_bias_is_refused() {
    // The largest sum of channel 0 is (8 + 7) * 3 = 45, that of channel 1 is 3, and the input has the scale 0.5.
    let model = |scale: f32, bias: [f32; 2]| {
        let mut model = example();
        weight(&mut model).scale = vec![scale];
        model.tensors.insert("out.bias".into(), floats(&bias));
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
        let PackedError::Network(DescriptionError::Node { node, problem }) = &error else { panic!("{error}") };
        assert_eq!((&node[..], problem), ("out", &Problem::Overflow { channel, sum }), "{scale} {bias:?}");
        assert!(error.to_string().contains("give the weight or the input a smaller scale"), "{error}");
    }
}

#[test]
fn a_sum_that_could_leave_32_bits_is_refused_with_its_channel() {
    // 255 * 255 * 33,025 is just below 2^31, one more just above.
    let linear = |inputs: usize, bits: u32, first: &[i32], step: i32, numbers: [u8; 2]| {
        let weight = codes(bits, first, step, &numbers.map(|code| vec![code; inputs]).concat(), &[1.0]);
        let network = json!({"input": {"shape": [inputs]}, "node": [
            {"name": "linear", "op": "linear", "outputs": 2, "bias": false},
        ]});
        model(network, Pixels { scale: 1.0, zero_point: 0 }, 2, &[("linear.weight", weight)])
    };
    for (bits, first, step, numbers, last) in [
        (8, &[-255][..], 2, [127, 255], 65_025.0),
        (8, &[0, -255], 1, [1, 0], -65_025.0),
        (1, &[-128, 254], 1, [0, 1], 65_025.0),
    ] {
        let model = linear(33_025, bits, first, step, numbers).unwrap();
        let logits = model.plan().unwrap().logits(&vec![255; 33_025]).unwrap();
        assert_eq!(logits[1], last * 33_025.0);
        let error = linear(33_026, bits, first, step, numbers).unwrap_err();
        let PackedError::Network(DescriptionError::Node { node, problem }) = &error else { panic!("{error}") };
        assert_eq!((&node[..], problem), ("linear", &Problem::Accumulator { channel: 1, sum: 2_147_515_650 }));
    }
}

#[test]
fn what_needs_too_many_values_at_a_time_is_not_run() {
    // Five images of 16,383 x 16,383 pixels that are added up in the end.
    let mut nodes = Vec::new();
    for place in 0..5 {
        let name = format!("conv{place}");
        nodes.push(json!({
            "name": name, "op": "conv2d", "input": "input", "channels": 1, "kernel": 1, "padding": 8191, "bias": false
        }));
    }
    nodes.push(json!({"name": "add1", "op": "add", "input": ["conv0", "conv1"]}));
    for place in 2..5 {
        let inputs = json!([format!("add{}", place - 1), format!("conv{place}")]);
        nodes.push(json!({"name": format!("add{place}"), "op": "add", "input": inputs}));
    }
    nodes.push(json!({"name": "mean", "op": "global_mean"}));
    let names: Vec<String> = (0..5).map(|place| format!("conv{place}.weight")).collect();
    let tensors: Vec<_> = names.iter().map(|name| (&name[..], codes(1, &[-1], 2, &[1], &[1.0]))).collect();
    let network = json!({"input": {"shape": [1, 1, 1]}, "node": nodes});
    let model = model(network, Pixels { scale: 1.0, zero_point: 0 }, 1, &tensors).unwrap();
    assert!(matches!(model.plan(), Err(PackedError::Memory { values: 1_610_416_134 })));
}
