//! Which part of the lab draws which random numbers: the last word of the address of [`hardgrad_kernels::random::Random`].
//!
//! Numbers are told apart by (seed, step, stream). Two parts of one program that draw with the same seed need streams of
//! their own; the table of each program is below, and a test sees to it that no two ranges of one table meet. Streams stay
//! below 2^16, above which are the parts of [`Random::part`](hardgrad_kernels::random::Random::part).

/// Order of the images; the step is the epoch. One stream a stage, from here on.
pub(crate) const ORDER: u32 = 16;
/// Flips and shifts of the images; the step is the training step. One stream a stage, from here on.
pub(crate) const AUGMENTATION: u32 = 32;
/// Which images calibrate the activation ranges.
pub(crate) const CALIBRATION: u32 = 48;
/// Which training images are split off for validation.
pub(crate) const VALIDATION_SPLIT: u32 = 200;
/// Which images of a folder without a part of their own for it are held out.
pub(crate) const TEST_SPLIT: u32 = 201;
/// Noise of the zeroth-order reference; the step is the training step. One stream a weight, from here on.
pub(crate) const DIAGNOSIS: u32 = 1024;
/// Weights with noise of their own in the zeroth-order reference; the next one has that of the first.
pub(crate) const DIAGNOSIS_WEIGHTS: u32 = 1023;

/// First weights of networks that experiments make by hand; the step is the place of the parameter.
pub(crate) const EXPERIMENT_WEIGHTS: u32 = 121;
/// Order of the images in experiments; the step is the epoch.
pub(crate) const EXPERIMENT_ORDER: u32 = 122;
/// Directions in which gradients are compared; the step is the training step. One stream a layer, from here on.
pub(crate) const ALIGNMENT: u32 = 140;

/// Samples of an estimator while it trains; the step is the training step.
pub(crate) const COMPARE_ESTIMATOR: u32 = 110;
/// What an estimator trains on; the step is the training step.
pub(crate) const COMPARE_CONTEXTS: u32 = 111;
/// Samples that tell how good the parameters are; the step is the training step.
pub(crate) const COMPARE_EVALUATION: u32 = 112;
/// Samples from which adaptive estimators learn before they are measured; the step is the call.
pub(crate) const DIAGNOSE_WARM_UP: u32 = 100;
/// Samples whose gradients are measured; the step is the call.
pub(crate) const DIAGNOSE_MEASURE: u32 = 101;
/// Samples of the reference where there is no exact gradient; the step is the call.
pub(crate) const DIAGNOSE_REFERENCE: u32 = 102;
/// First parameters of objectives; the step is the place of the parameter.
pub(crate) const OBJECTIVE_PARAMETERS: u32 = 0;
/// Fixed weights of the linear objective.
pub(crate) const OBJECTIVE_LINEAR: u32 = 1;
/// Fixed matrix of the quadratic objective.
pub(crate) const OBJECTIVE_QUADRATIC: u32 = 2;

/// Where the two-layer network starts; the step tells the starts apart.
pub(crate) const THEORY_STARTS: u32 = 130;
/// Samples of its inputs; the step is the training step.
pub(crate) const THEORY_SAMPLES: u32 = 132;

/// Inputs and parameters of workloads that are timed, with seed 0; the step tells them apart.
pub(crate) const BENCH_INPUTS: u32 = 0;
/// Noise of operators that are timed, with seed 1; the step is the call.
pub(crate) const BENCH_NOISE: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, first stream, number of streams.
    type Range = (&'static str, u32, u32);

    /// First weights of described networks, drawn by `hardgrad::network`; the step is the place of the node.
    const WEIGHTS: Range = ("weights", 0, 1);
    /// Most stages that a recipe has.
    const STAGES: u32 = 16;
    /// Layers whose gradients are compared.
    const ALIGNMENT_LAYERS: u32 = 8;
    /// The weights of the network that relax learns, in `hardgrad::categorical`.
    const RELAX: Range = ("relax", 120, 1);
    /// Signs and noise of `hardgrad::zeroth_order`: one stream, then one a parameter.
    const GUIDANCE: Range = ("guidance", 2047, (1 << 16) - 2047);
    const DATA: [Range; 2] = [("VALIDATION_SPLIT", VALIDATION_SPLIT, 1), ("TEST_SPLIT", TEST_SPLIT, 1)];

    const TRAINING: [Range; 8] = [
        WEIGHTS,
        ("ORDER", ORDER, STAGES),
        ("AUGMENTATION", AUGMENTATION, STAGES),
        ("CALIBRATION", CALIBRATION, 1),
        DATA[0],
        DATA[1],
        ("DIAGNOSIS", DIAGNOSIS, DIAGNOSIS_WEIGHTS),
        GUIDANCE,
    ];
    const EXPERIMENTS: [Range; 7] = [
        WEIGHTS,
        ("EXPERIMENT_WEIGHTS", EXPERIMENT_WEIGHTS, 1),
        ("EXPERIMENT_ORDER", EXPERIMENT_ORDER, 1),
        ("ALIGNMENT", ALIGNMENT, ALIGNMENT_LAYERS),
        DATA[0],
        DATA[1],
        GUIDANCE,
    ];
    const ESTIMATORS: [Range; 10] = [
        ("OBJECTIVE_PARAMETERS", OBJECTIVE_PARAMETERS, 1),
        ("OBJECTIVE_LINEAR", OBJECTIVE_LINEAR, 1),
        ("OBJECTIVE_QUADRATIC", OBJECTIVE_QUADRATIC, 1),
        ("DIAGNOSE_WARM_UP", DIAGNOSE_WARM_UP, 1),
        ("DIAGNOSE_MEASURE", DIAGNOSE_MEASURE, 1),
        ("DIAGNOSE_REFERENCE", DIAGNOSE_REFERENCE, 1),
        ("COMPARE_ESTIMATOR", COMPARE_ESTIMATOR, 1),
        ("COMPARE_CONTEXTS", COMPARE_CONTEXTS, 1),
        ("COMPARE_EVALUATION", COMPARE_EVALUATION, 1),
        RELAX,
    ];
    const THEORY: [Range; 2] = [("THEORY_STARTS", THEORY_STARTS, 1), ("THEORY_SAMPLES", THEORY_SAMPLES, 1)];
    const BENCH: [Range; 2] = [("BENCH_INPUTS", BENCH_INPUTS, 1), GUIDANCE];
    const BENCH_OPERATORS: [Range; 1] = [("BENCH_NOISE", BENCH_NOISE, 1)];

    #[test]
    fn no_two_ranges_of_a_program_meet_and_all_stay_below_the_parts() {
        for program in [&TRAINING[..], &EXPERIMENTS, &ESTIMATORS, &THEORY, &BENCH, &BENCH_OPERATORS] {
            let mut ranges = program.to_vec();
            ranges.sort_by_key(|range| range.1);
            for pair in ranges.windows(2) {
                assert!(pair[0].1 + pair[0].2 <= pair[1].1, "{} and {} meet", pair[0].0, pair[1].0);
            }
            for (name, first, count) in ranges {
                assert!(count > 0 && first + count <= 1 << 16, "{name}");
            }
        }
    }
}
