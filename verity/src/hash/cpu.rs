//! What was measured on which kind of CPU.

use super::{Algorithm, Kernel};

/// A CPU as far as it decides which kernel is the fastest.
///
/// | SHA-256 of 4 KiB blocks, GB/s on one core | AVX-512 | SHA-NI ×4 | SHA-NI ×2 | one by one | AVX2 |
/// |---|---|---|---|---|---|
/// | AMD EPYC of family 25, model 17 (Zen 4) | 3.33 | 3.47 | 3.41 | 1.74 | 1.88 |
/// | Intel Xeon with both (stand-alone programs, not this crate) | 3.8 | 2.3 | 2.1 | 1.7 | |
///
/// Zen 4 computes a vector of 512 bits in two halves, which leaves AVX-512 behind SHA-NI's one byte a cycle. CPUs that
/// compute it whole are expected to do as the Xeon does; Zen 5 is among them and not measured. Nor is any ARM core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "AMD makes x86"))]
pub(super) enum Cpu {
    /// AMD's family 25: Zen 3, without AVX-512, and Zen 4.
    AmdFamily25,
    /// Any other.
    Other,
}

impl Cpu {
    /// The one this runs on.
    pub(super) fn here() -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use std::arch::x86_64::__cpuid;
            let (vendor, version) = (__cpuid(0), __cpuid(1));
            let vendor = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
            // Family 15 is continued by the extended family.
            let (base, extended) = (version.eax >> 8 & 0xf, version.eax >> 20 & 0xff);
            if vendor.as_flattened() == b"AuthenticAMD" && (base, extended) == (15, 10) {
                return Self::AmdFamily25;
            }
        }
        Self::Other
    }

    /// The kernels, the fastest first.
    pub(super) fn order(self, algorithm: Algorithm) -> &'static [Kernel] {
        use Kernel::{Armv8x2, Armv8x4, Avx2, Avx512, Portable, ShaNi2, ShaNi4};
        match (self, algorithm) {
            (Self::AmdFamily25, Algorithm::Sha256) => &[ShaNi4, ShaNi2, Avx512, Avx2, Portable],
            (_, Algorithm::Sha256) => &[Avx512, ShaNi4, ShaNi2, Armv8x4, Armv8x2, Avx2, Portable],
            (_, Algorithm::Sha384 | Algorithm::Sha512) => &[Avx512, Avx2, Portable],
            (_, Algorithm::Sha1) => &[Portable],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_a_place_in_the_order_of_any_cpu() {
        let order = Cpu::Other.order(Algorithm::Sha256);
        assert!(Kernel::ALL.iter().all(|kernel| order.contains(kernel)));
        for algorithm in Algorithm::ALL {
            for cpu in [Cpu::AmdFamily25, Cpu::Other] {
                assert_eq!(cpu.order(algorithm).last(), Some(&Kernel::Portable));
            }
        }
    }
}
