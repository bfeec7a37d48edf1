import { describe, expect, it } from 'vitest';
import {
  assertCreatable,
  assertReadable,
  assertWritable,
  completeFeatures,
  FEATURE,
  featureNames,
  flagNames,
  opFeatureNames,
  parseFeatures,
} from '../../src/rbd/features.js';

describe('feature names', () => {
  it('are those of rbd info, in its order', () => {
    expect(featureNames(61n)).toEqual([
      'layering',
      'exclusive-lock',
      'object-map',
      'fast-diff',
      'deep-flatten',
    ]);
    expect(featureNames(0xfffn)).toHaveLength(12);
    expect(featureNames(1n << 12n)).toEqual(['unknown-0x1000']);
    expect(opFeatureNames(0xfn)).toEqual(['clone-parent', 'clone-child', 'group', 'snap-trash']);
    expect(flagNames(3n)).toEqual(['object map invalid', 'fast diff invalid']);
  });

  it('are read back', () => {
    expect(parseFeatures(featureNames(0xfffn))).toBe(0xfffn);
    expect(() => parseFeatures(['layering', 'magic'])).toThrow("'magic' is not an image feature");
  });
});

describe('features that this version lacks', () => {
  it('are named when an image is opened for writing', () => {
    assertWritable(FEATURE.LAYERING | FEATURE.STRIPINGV2 | FEATURE.DATA_POOL, 'rbd/vm1');
    assertWritable(61n, 'rbd/vm1');
    expect(() => assertWritable(65n, 'rbd/vm1')).toThrow(
      "image rbd/vm1 has feature 'journaling', which this version cannot write: " +
        'open it read-only or disable the feature',
    );
    expect(() => assertWritable(0x441n, 'rbd/vm1')).toThrow(
      "features 'journaling' and 'non-primary'",
    );
    expect(() => assertWritable(1n << 20n, 'rbd/vm1')).toThrow(
      expect.objectContaining({ code: 'ENOSYS', outcome: 'not-applied' }),
    );
  });

  it('do not keep anyone from writing who has no business with them: rbd snap rm sets `operations`', () => {
    assertWritable(FEATURE.LAYERING | FEATURE.OPERATIONS, 'rbd/vm1');
    expect(() => assertCreatable(FEATURE.OPERATIONS, 'vm1')).toThrow("feature 'operations'");
  });

  it('do not keep anyone from reading, but for those that hide data elsewhere', () => {
    const incompatible = (features: bigint) => features & 0x883n;
    assertReadable(0x5ffn, incompatible(0x5ffn), 'rbd/vm1');
    for (const feature of [FEATURE.DIRTY_CACHE, FEATURE.MIGRATING]) {
      const features = 1n | feature;
      expect(() => assertReadable(features, incompatible(features), 'rbd/vm1')).toThrow(
        expect.objectContaining({ code: 'ENOSYS' }),
      );
    }
    // A later release may add to what a read-only client must know.
    expect(() => assertReadable(1n << 13n, 1n << 13n, 'rbd/vm1')).toThrow('unknown-0x2000');
  });

  it('are an object map that nobody could keep: the header says so by mistake', () => {
    expect(() => assertWritable(9n, 'rbd/vm1')).toThrow("feature 'object-map'");
  });

  it('are not created', () => {
    expect(() => assertCreatable(FEATURE.JOURNALING, 'vm1')).toThrow("feature 'journaling'");
  });
});

describe('features of a new image', () => {
  const { EXCLUSIVE_LOCK, OBJECT_MAP, FAST_DIFF } = FEATURE;

  it('have object-map and fast-diff together or not at all, as since 16.2', () => {
    expect(completeFeatures(EXCLUSIVE_LOCK | OBJECT_MAP)).toBe(
      EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF,
    );
    expect(completeFeatures(EXCLUSIVE_LOCK | FAST_DIFF)).toBe(EXCLUSIVE_LOCK);
  });

  it('do not have an object map without an exclusive lock', () => {
    expect(() => completeFeatures(OBJECT_MAP)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});
