//! A gradient method at work on a module: probes, slopes, and the new gradient in place of the old one.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use hardgrad_kernels::optimizer::global_norm;
use hardgrad_kernels::perturbation::{along, combine, mirror, perturb};

use super::{
    Combination, Direction, GradientConfig, GradientMethod, Measured, Mix, Noise, Perturbed, ZerothOrderError,
};
use crate::flex::{Values, values};
use crate::parameters::{self, Path};
use crate::random::Random;

/// Replaces straight-through gradients by guided ones.
///
/// ```text
/// w   = epsilon smoothing.width step                    width of the noise, one a parameter
/// L(theta + w v_i), L(theta - w v_i)                    two forward passes a direction
/// ```
/// The module is not changed: probes run on one plain copy of the moved parameters ([`Module::valid`]), so there is no graph, and
/// running statistics are used but not touched; where there is batch norm, the loss of a probe is therefore that of evaluation,
/// while the straight-through gradient is that of the batch's own statistics. Noise is made again where it is needed: beyond the
/// copy, a direction costs about 50 bytes. It comes from streams 2047 and above of the seed. Same seed, same bytes, for any number
/// of threads.
///
/// ```
/// use std::collections::BTreeMap;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::quantize::{QuantizeWeights, QuantizerConfig};
/// use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment, quantized};
///
/// let layer = LinearConfig::new(4, 3).init(&Device::flex().autodiff());
/// let layer = QuantizeWeights::new(QuantizerConfig::weights(2)).unwrap().apply(layer).unwrap();
/// let config = GradientConfig { method: MethodName::Spsa, directions: 8, ..GradientConfig::default() };
/// let guidance = Guidance::new(&config).unwrap().unwrap();
///
/// let mut gradients = BTreeMap::new();
/// let x = Tensor::<2>::ones([2, 4], &Device::flex());
/// let loss = |layer: &burn::nn::Linear| f64::from(layer.forward(x.clone()).mean().into_scalar::<f32>());
/// let moment = Moment { seed: 0, step: 0, progress: 0.0 };
/// let report = guidance.guide(&layer, &quantized(&layer), &mut gradients, moment, loss).unwrap();
/// assert_eq!((report.passes, report.skipped, gradients["weight"].len()), (16, 0, 12));
/// ```
#[derive(Debug)]
pub struct Guidance {
    method: Box<dyn GradientMethod>,
    directions: u32,
    epsilon: f64,
}

/// Where in training a step is: the address of its noise, and how far guidance is.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seed of the run.
    pub seed: u64,
    /// Step of the run.
    pub step: u32,
    /// From 0 at the first guided step to 1 at the last ([`GradientConfig::progress`]).
    pub progress: f64,
}

/// What guiding a step took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Forward passes beyond those of the straight-through gradient.
    pub passes: u64,
    /// Directions left out because a loss was not finite. If all were, the gradient is the straight-through one.
    pub skipped: u64,
}

/// Streams of the signs of directions and of the noise of the first parameter; each parameter has its own from there on.
const SIGNS: u32 = 2047;
const NOISE: u32 = 2048;

/// Directions whose noise is added in one pass over a gradient.
const TOGETHER: usize = 32;

/// A straight-through gradient shorter than this counts as 0: its direction would be made of rounding.
const SHORTEST: f64 = 1e-30;

/// A parameter while it is probed.
struct Probed<'a> {
    name: &'a str,
    base: Values,
    width: f64,
    noise: Noise,
    random: Random,
}

impl Guidance {
    /// The method that the settings name; none for `straight_through`.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn new(config: &GradientConfig) -> Result<Option<Self>, ZerothOrderError> {
        let method = config.method()?;
        Ok(method.map(|method| Self { method, directions: config.directions, epsilon: config.epsilon }))
    }

    /// A method of your own with `directions` (at least 1) probes a step, `epsilon` (above 0, at most 1000) times the usual width.
    ///
    /// # Errors
    /// If `directions` or `epsilon` is out of its range.
    pub fn with_method(
        method: Box<dyn GradientMethod>,
        directions: u32,
        epsilon: f64,
    ) -> Result<Self, ZerothOrderError> {
        GradientConfig { directions, epsilon, ..GradientConfig::default() }.method()?;
        Ok(Self { method, directions, epsilon })
    }

    /// The method's word.
    pub fn name(&self) -> &'static str {
        self.method.name()
    }

    /// Replaces the gradients of the `perturbed` parameters (all 0 where there is none yet) by those of the method.
    ///
    /// `loss` is called twice a direction with a plain module. It must see the same data and the same random numbers each
    /// time; directions whose loss is not finite are left out and counted.
    ///
    /// # Errors
    /// If nothing is perturbed, a name or a size does not fit the module, or a gradient is not finite.
    pub fn guide<M: Module>(
        &self,
        module: &M,
        perturbed: &[Perturbed],
        gradients: &mut BTreeMap<String, Vec<f32>>,
        moment: Moment,
        loss: impl FnMut(&M) -> f64,
    ) -> Result<Report, ZerothOrderError> {
        self.guide_by_slopes(module, perturbed, gradients, moment, |probes| probes.slopes(module, loss))
    }

    /// As [`guide`](Self::guide), but the slopes of all directions come at once from `slopes`, which may compute many in one
    /// pass: (L(theta + w v_i) - L(theta - w v_i))/2 for each of the directions, in order.
    ///
    /// # Errors
    /// As [`guide`](Self::guide).
    ///
    /// # Panics
    /// If there are not as many slopes as directions.
    pub fn guide_by_slopes<M: Module>(
        &self,
        module: &M,
        perturbed: &[Perturbed],
        gradients: &mut BTreeMap<String, Vec<f32>>,
        moment: Moment,
        slopes: impl FnOnce(&Probes<'_>) -> Vec<f64>,
    ) -> Result<Report, ZerothOrderError> {
        let probed = self.probed(module, perturbed, moment)?;
        let mut squares = 0.0;
        for Probed { name, base, width, .. } in &probed {
            let gradient = gradients.entry(name.to_string()).or_insert_with(|| vec![0.0; base.len()]);
            if gradient.len() != base.len() {
                let (expected, found) = (base.len(), gradient.len());
                return Err(ZerothOrderError::Gradient { name: name.to_string(), expected, found });
            }
            squares += (width * global_norm(&[gradient])).powi(2);
        }
        if !squares.is_finite() {
            return Err(ZerothOrderError::NotFinite);
        }
        let norm = if squares.sqrt() < SHORTEST { 0.0 } else { squares.sqrt() };

        let mix = self.method.mix(moment.progress);
        let signs = Random::new(moment.seed, moment.step, SIGNS);
        let probes = Probes { probed: &probed, gradients, mix, norm, signs, directions: self.directions };
        let slopes = slopes(&probes);
        assert_eq!(slopes.len(), self.directions as usize, "a slope for each direction");
        let values = probed.iter().map(|probed| probed.base.len()).sum();
        let mut measured = Measured { directions: Vec::new(), mix, norm, values };
        let mut kept = Vec::new();
        for (direction, slope) in (0..).zip(slopes).filter(|(_, slope)| slope.is_finite()) {
            measured.directions.push(Direction { sign: probes.sign(direction), slope, along: 0.0 });
            kept.push(direction);
        }
        let directions = u64::from(self.directions);
        let report = Report { passes: 2 * directions, skipped: directions - kept.len() as u64 };
        if kept.is_empty() {
            return Ok(report);
        }
        if self.method.compares() {
            for (&direction, measured) in kept.iter().zip(&mut measured.directions) {
                let claim = |probed: &Probed<'_>| {
                    probed.width * along(&gradients[probed.name], probed.noise, &probed.random.part(direction))
                };
                measured.along = probed.iter().map(claim).sum();
            }
        }
        let Combination { straight_through, noise } = self.method.combine(&measured);
        for Probed { name, width, noise: kind, random, .. } in &probed {
            let gradient = gradients.get_mut(*name).expect("put in above");
            for (block, (kept, noise)) in kept.chunks(TOGETHER).zip(noise.chunks(TOGETHER)).enumerate() {
                let term = |(&direction, factor): (&u32, &f64)| ((factor / width) as f32, random.part(direction));
                let terms: Vec<(f32, Random)> = kept.iter().zip(noise).map(term).collect();
                combine(gradient, if block == 0 { straight_through as f32 } else { 1.0 }, &terms, *kind);
            }
        }
        Ok(report)
    }

    /// The parameters that are probed, with their values and widths, in the order of `perturbed`.
    fn probed<'a, M: Module>(
        &self,
        module: &M,
        perturbed: &'a [Perturbed],
        moment: Moment,
    ) -> Result<Vec<Probed<'a>>, ZerothOrderError> {
        struct Collect<'a> {
            path: Path,
            wanted: &'a [Perturbed],
            /// One place for each that is wanted.
            found: Vec<Option<Values>>,
        }
        impl ModuleVisitor for Collect<'_> {
            fn enter_module(&mut self, name: &str, container: &str) {
                self.path.enter(name, container);
            }
            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.exit();
            }
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                let name = self.path.name();
                if let Some(place) = self.wanted.iter().position(|wanted| wanted.name == name) {
                    self.found[place] = Some(values(&parameter.base()));
                }
            }
        }
        if perturbed.is_empty() {
            return Err(ZerothOrderError::NothingQuantized);
        }
        let found = vec![None; perturbed.len()];
        let mut collect = Collect { path: Path::default(), wanted: perturbed, found };
        module.visit(&mut collect);
        let mut probed = Vec::with_capacity(perturbed.len());
        for (place, (Perturbed { name, step, smoothing }, base)) in perturbed.iter().zip(collect.found).enumerate() {
            let base = base.ok_or_else(|| ZerothOrderError::Unknown { name: name.clone() })?;
            let width = self.epsilon * smoothing.width * f64::from(*step);
            if !(width > 0.0 && width.is_finite()) {
                return Err(ZerothOrderError::Step { name: name.clone(), step: *step });
            }
            let random = Random::new(moment.seed, moment.step, NOISE + place as u32);
            probed.push(Probed { name, base, width, noise: smoothing.noise, random });
        }
        Ok(probed)
    }
}

/// The points at which the losses of a step are wanted.
pub struct Probes<'a> {
    probed: &'a [Probed<'a>],
    gradients: &'a BTreeMap<String, Vec<f32>>,
    mix: Mix,
    norm: f64,
    signs: Random,
    /// How many directions there are.
    pub directions: u32,
}

impl Probes<'_> {
    /// Fills `out` with the values of a perturbed parameter at theta + side w v of a direction, `side` being +1 or -1.
    ///
    /// # Panics
    /// If no perturbed parameter has this name, or another size.
    pub fn values(&self, name: &str, direction: u32, side: f64, out: &mut [f32]) {
        let probed = self.find(name);
        let Probed { base, width, noise, random, .. } = probed.unwrap_or_else(|| panic!("{name} is not perturbed"));
        // w v = w (guide sign (w gradient)/norm + noise u)
        let guide = side * width * width * self.mix.guide * self.sign(direction) / self.norm;
        let lead = if self.norm > 0.0 { guide } else { 0.0 };
        let spread = side * width * self.mix.noise;
        perturb(base, &self.gradients[name], [lead as f32, spread as f32], *noise, &random.part(direction), out);
    }

    /// The slopes of all directions, by two passes each through a plain copy of `module`.
    pub fn slopes<M: Module>(&self, module: &M, mut loss: impl FnMut(&M) -> f64) -> Vec<f64> {
        let moved = |plain: M, change: &dyn Fn(&str, &mut [f32])| {
            parameters::update_some(plain, |name| self.find(name).is_some(), |name, _, out| change(name, out))
        };
        let mut probe = module.valid();
        let mut slopes = Vec::with_capacity(self.directions as usize);
        for direction in 0..self.directions {
            probe = moved(probe, &|name, out| self.values(name, direction, 1.0, out));
            let plus = loss(&probe);
            probe = moved(probe, &|name, out| {
                if let Some(probed) = self.find(name) {
                    mirror(&probed.base, out);
                }
            });
            slopes.push((plus - loss(&probe)) / 2.0);
        }
        slopes
    }

    fn find(&self, name: &str) -> Option<&Probed<'_>> {
        self.probed.iter().find(|probed| probed.name == name)
    }

    /// The sign of the straight-through gradient in a direction, +1 or -1.
    pub fn sign(&self, direction: u32) -> f64 {
        if self.signs.word(u64::from(direction)) & 1 == 0 { 1.0 } else { -1.0 }
    }
}
