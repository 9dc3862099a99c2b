//! How layers become the nodes of a packed model, and which do not.

mod drawn;

use burn::tensor::Device;
use drawn::drawn;
use hardgrad::layers::{QuantLinear, QuantLinearConfig};
use hardgrad::packing::{Carries, Edge, PackError, Packer};
use hardgrad::quantize::{Quantizer, QuantizerConfig, RangeMethod, StepClock};
use hardgrad::random::Random;
use hardgrad::runtime::{PackedModel, Pixels, ops};

const SIZE: usize = 9;
const PIXELS: Pixels = Pixels { scale: 0.0137, zero_point: 71 };

fn class_names(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

/// Takes the pixels of the images as they are.
fn image_quantizer() -> QuantizerConfig {
    QuantizerConfig {
        range: RangeMethod::Fixed,
        fixed_scale: PIXELS.scale,
        fixed_zero_point: i32::from(PIXELS.zero_point),
        ..QuantizerConfig::activations(8)
    }
}

fn relu_behind(packer: &mut Packer) -> Edge {
    packer.op("relu", ops::Relu {}, &[&packer.input()])
}

fn pack_behind_floats(layer: &QuantLinear) -> Result<Edge, PackError> {
    let mut packer = Packer::new([3], PIXELS);
    let x = relu_behind(&mut packer);
    layer.pack("hidden.0", &x, &mut packer)
}

#[test]
fn layers_without_a_packed_form_say_why() {
    let device = Device::flex();
    let clock = StepClock::default();
    let linear = || drawn(QuantLinearConfig::new(3, 2).init(&Random::new(0, 0, 0), &device));
    let (weights, activations) = (QuantizerConfig::weights(4), QuantizerConfig::activations(4));
    assert_eq!(pack_behind_floats(&linear()).unwrap().carries(), Carries::Floats);
    let half = linear().quantize(Some(&weights), None, &clock).unwrap();
    let error = pack_behind_floats(&half).unwrap_err();
    assert!(
        matches!(&error, PackError::FloatInput { node, input } if node == "hidden.0" && input == "relu"),
        "{error}"
    );
    assert!(error.to_string().contains("Packer::quantize"), "{error}");
    let seen = QuantizerConfig { range: RangeMethod::MinMax, ..activations.clone() };
    let unseen = linear().quantize(Some(&weights), Some(&seen), &clock).unwrap();
    let error = pack_behind_floats(&unseen).unwrap_err();
    assert!(matches!(&error, PackError::Unset { node } if node == "hidden.0"), "{error}");
    // The quantiser of a weight is not one of activations.
    let mut swapped = linear().quantize(Some(&weights), None, &clock).unwrap();
    swapped.input_quantizer = swapped.weight.reparameterization::<Quantizer>().cloned();
    let error = pack_behind_floats(&swapped).unwrap_err();
    assert!(matches!(&error, PackError::WeightQuantizer { node } if node == "hidden.0"), "{error}");
    let broken = hardgrad::parameters::update(linear(), |name, _, values| {
        if name == "weight" {
            values[1] = f32::INFINITY;
        }
    });
    let error = pack_behind_floats(&broken).unwrap_err();
    assert!(matches!(&error, PackError::NotFinite { node } if node == "hidden.0"), "{error}");
    let late = |config: &QuantizerConfig| QuantizerConfig { delay: 3, ..config.clone() };
    let waiting = [
        linear().quantize(Some(&late(&weights)), Some(&activations), &clock).unwrap(),
        linear().quantize(Some(&weights), Some(&late(&activations)), &clock).unwrap(),
    ];
    for layer in &waiting {
        assert!(pack_behind_floats(layer).unwrap_err().to_string().contains("delay"));
    }
    clock.set(3);
    assert!(waiting.iter().all(|layer| pack_behind_floats(layer).is_ok()));
}

#[test]
fn a_first_layer_reads_the_pixels_it_was_trained_with_or_is_refused() {
    let device = Device::flex();
    let clock = StepClock::default();
    let layer = |input: &QuantizerConfig| {
        let layer = drawn(QuantLinearConfig::new(SIZE * SIZE, 2).init(&Random::new(0, 0, 0), &device));
        layer.quantize(Some(&QuantizerConfig::weights(4)), Some(input), &clock).unwrap()
    };
    let packed = |layer: &QuantLinear, pixels: Pixels| -> Result<PackedModel, PackError> {
        let mut packer = Packer::new([1, SIZE, SIZE], pixels);
        let x = packer.op("flatten", ops::Flatten {}, &[&packer.input()]);
        assert_eq!(x.carries(), Carries::Pixels);
        let x = layer.pack("first", &x, &mut packer)?;
        packer.finish(&x, class_names(2))
    };
    let first = layer(&image_quantizer());
    let own = first.input_quantizer.as_ref().unwrap().pixels("first").unwrap();
    assert_eq!((own.scale, own.zero_point), (PIXELS.scale, PIXELS.zero_point));
    let model = packed(&first, own).unwrap();
    let names: Vec<&str> = model.description.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["flatten", "first"], "pixels are codes already");
    let next = f32::from_bits(PIXELS.scale.to_bits() + 1);
    let others = [
        Pixels { scale: next, zero_point: PIXELS.zero_point },
        Pixels { scale: PIXELS.scale, zero_point: PIXELS.zero_point - 1 },
    ];
    for other in others {
        let error = packed(&first, other).unwrap_err();
        assert!(matches!(error, PackError::OtherPixels { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("first") && error.contains("0.0137") && error.contains("71"), "{error}");
        assert!(error.contains("Quantizer::pixels"), "{error}");
    }
    let unfit = [
        QuantizerConfig::activations(4),
        QuantizerConfig { range: RangeMethod::Dorefa, ..QuantizerConfig::activations(8) },
        QuantizerConfig { signed: true, fixed_zero_point: 0, ..image_quantizer() },
    ];
    for config in unfit {
        let fits = config.signed;
        match packed(&layer(&config), PIXELS).unwrap_err() {
            // Signed codes without a zero point are those of pixels whose 128 is 0.
            PackError::OtherPixels { zero_point, .. } => assert!(fits && zero_point == 128),
            error => assert!(!fits && matches!(error, PackError::NotPixels { .. }), "{error}"),
        }
    }
}

#[test]
fn codes_are_made_once_for_all_that_read_them() {
    let device = Device::flex();
    let quantizer = |bits| QuantizerConfig::activations(bits).init(&device).unwrap();
    let mut packer = Packer::new([3], PIXELS);
    let x = relu_behind(&mut packer);
    let first = packer.quantize("first", &quantizer(4), &x).unwrap();
    assert_eq!((first.name(), first.carries()), ("first", Carries::Codes));
    assert_eq!(packer.quantize("again", &quantizer(4), &x).unwrap(), first);
    assert_eq!(packer.quantize("finer", &quantizer(5), &x).unwrap().name(), "finer");
    // What is quantised at another place is another node, though it is the same quantiser.
    let y = packer.op("later", ops::Relu {}, &[&x]);
    assert_eq!(packer.quantize("other", &quantizer(4), &y).unwrap().name(), "other");
}

#[test]
fn a_model_that_cannot_be_run_is_refused_at_the_end() {
    let mut packer = Packer::new([3], PIXELS);
    let first = packer.op("first", ops::Relu {}, &[&packer.input()]);
    let second = packer.op("second", ops::Relu {}, &[&first]);
    let error = packer.clone().finish(&first, class_names(3)).unwrap_err();
    assert!(matches!(&error, PackError::NotLast { output, last } if output == "first" && last == "second"), "{error}");
    assert!(packer.clone().finish(&second, class_names(3)).is_ok());
    assert!(matches!(packer.clone().finish(&second, class_names(4)).unwrap_err(), PackError::Model(_)));
    let twice = packer.op("first", ops::Relu {}, &[&second]);
    assert!(matches!(packer.finish(&twice, class_names(3)).unwrap_err(), PackError::Model(_)));
}
