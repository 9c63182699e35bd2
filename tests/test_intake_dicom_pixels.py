"""Pixels: each compression, bits, signs, scales and padding; and files that are broken."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from bmcore.domain import InputRefused, Volume
from bmcore.intake.dicom import read_study, read_volume
from tests import dicom_fixture as fixture


def jpeg_lossless(values: np.ndarray, bits: int = 16) -> bytes:
    """JPEG process 14, predictor 1 (ITU-T T.81), with one code of 5 bits for each of 17 classes."""
    wide = values.astype(np.int64)
    guess = np.empty_like(wide)
    guess[:, 1:], guess[1:, 0], guess[0, 0] = wide[:, :-1], wide[:-1, 0], 1 << (bits - 1)
    text = ""
    for step in ((wide - guess + 32768) % 65536 - 32768).ravel().tolist():
        size = abs(step).bit_length()
        text += f"{size:05b}"
        if 0 < size < 16:
            text += f"{step if step >= 0 else step + (1 << size) - 1:0{size}b}"
    text += "1" * (-len(text) % 8)
    body = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    head = b"\xff\xd8\xff\xc3" + struct.pack(">HBHHBBBB", 11, bits, *values.shape, 1, 1, 17, 0)
    counts = [17 if length == 5 else 0 for length in range(1, 17)]
    head += b"\xff\xc4" + struct.pack(">HB16B", 36, 0, *counts) + bytes(range(17))
    head += b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    coded = head + body + b"\xff\xd9"
    return coded + bytes(len(coded) % 2)


def write_jpeg_lossless(one, fragments=3) -> bytes:
    coded = jpeg_lossless(fixture.stored(one))
    raw = fixture.to_bytes(one)
    made = fixture.pydicom.dcmread(fixture.io.BytesIO(raw))
    made.PixelData = encapsulate([coded], fragments_per_frame=fragments, has_bot=False)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    made.file_meta.TransferSyntaxUID = uid.JPEGLosslessSV1
    buffer = fixture.io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def deflated(one, extra: int = 0) -> bytes:
    """The same file deflated; ``extra`` zero bytes follow the pixels in a bomb."""
    raw = fixture.to_bytes(one)
    end = 144 + struct.unpack("<I", raw[140:144])[0]
    syntax = b"1.2.840.10008.1.2.1\0"
    meta = raw[:end].replace(syntax, b"1.2.840.10008.1.2.1.99")
    grown = struct.unpack("<I", raw[140:144])[0] + 2
    place = meta.index(b"1.2.840.10008.1.2.1.99")
    meta = meta[: place - 2] + struct.pack("<H", 22) + meta[place:]
    meta = meta[:140] + struct.pack("<I", grown) + meta[144:]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return meta + packer.compress(raw[end:] + bytes(extra)) + packer.flush()


def with_group_0(one) -> bytes:
    """With the command elements that some programs leave at the front of the data set."""
    raw = fixture.to_bytes(one)
    end = 144 + struct.unpack("<I", raw[140:144])[0]
    command = struct.pack("<HH2sHI", 0, 0x0100, b"US", 2, 0)[:8] + struct.pack("<H", 1)
    return raw[:end] + command + raw[end:]


WRITERS = {
    "implicit": lambda one: fixture.to_bytes(one, uid.ImplicitVRLittleEndian),
    "explicit": fixture.to_bytes,
    "big endian": lambda one: fixture.to_bytes(one, uid.ExplicitVRBigEndian),
    "no meta header": fixture.without_meta,
    "RLE": lambda one: fixture.to_bytes(one, uid.RLELossless),
    "RLE in fragments": lambda one: fixture.to_bytes(one, uid.RLELossless, 3),
    "JPEG-LS": lambda one: fixture.to_bytes(one, uid.JPEGLSLossless),
    "JPEG 2000": lambda one: fixture.to_bytes(one, uid.JPEG2000Lossless),
    "JPEG 2000 in fragments": lambda one: fixture.to_bytes(one, uid.JPEG2000Lossless, 2),
    "JPEG lossless": lambda one: write_jpeg_lossless(one, 1),
    "JPEG lossless in fragments": write_jpeg_lossless,
    "group 0000": with_group_0,
}


def only(folder):
    with read_study(folder) as found:
        (series,) = found.patients[0].examinations[0].series
        return series, read_volume(series)[0]


def refused(folder) -> str:
    with read_study(folder) as found:
        (series,) = found.patients[0].examinations[0].series
        with pytest.raises(InputRefused) as caught:
            read_volume(series)
    return str(caught.value)


@pytest.mark.parametrize("encoding", WRITERS)
def test_every_encoding_gives_the_same_values(tmp_path, encoding):
    source = fixture.volume()
    fixture.save(fixture.slices(source), tmp_path / "a", WRITERS[encoding])
    assert fixture.agrees(only(tmp_path / "a")[1], source)


def test_encodings_mixed_in_one_series(tmp_path):
    source = fixture.volume()
    made = fixture.slices(source)
    for one, write in zip(made, WRITERS.values(), strict=True):
        fixture.save([one], tmp_path / "a", write)
    assert fixture.agrees(only(tmp_path / "a")[1], source)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_compressed_enhanced_frames(tmp_path, syntax):
    source = fixture.volume()
    order = np.random.default_rng(3).permutation(12).tolist()
    made = fixture.enhanced(fixture.slices(source), order)
    fixture.save([made], tmp_path / "a", lambda one: fixture.to_bytes(one, syntax))
    assert fixture.agrees(only(tmp_path / "a")[1], source)


def test_deflated_files_are_refused_by_the_name_of_the_encoding(tmp_path):
    made = fixture.slices(fixture.volume())
    fixture.save(made[:6], tmp_path / "a")
    fixture.save(made[6:], tmp_path / "a", deflated)
    told = refused(tmp_path / "a")
    assert "0007.dcm: its data are deflated" in told and "1 more of its files" in told


def test_a_deflated_bomb_is_never_inflated(tmp_path):
    """1 MiB of file and 1 GiB when inflated: the child, limited to 1000 MiB, answers at once."""
    made = fixture.slices(fixture.volume())
    fixture.save(made[:11], tmp_path / "a")
    fixture.save(made[11:], tmp_path / "a", lambda one: deflated(one, 2**30))
    assert 0.9e6 < (tmp_path / "a" / "0012.dcm").stat().st_size < 1.2e6
    assert "0012.dcm: its data are deflated" in refused(tmp_path / "a")


# --- values --------------------------------------------------------------------------------------


def changed(folder, change, source=None) -> Volume:
    """The volume of a series whose slices went through ``change(slice, number, values)``."""
    source = source or fixture.volume()
    made = fixture.slices(source)
    for number, one in enumerate(made):
        change(one, number, fixture.stored(one).astype(np.int64))
    fixture.save(made, folder)
    return only(folder)[1]


def test_bits_that_are_not_stored_mean_nothing(tmp_path):
    rng = np.random.default_rng(4)

    def change(one, number, values):
        fixture.set_pixels(one, values | (rng.integers(0, 16, values.shape) << 12), bits=12)

    assert fixture.agrees(changed(tmp_path / "a", change), fixture.volume())


def test_high_bit_above_the_lowest_bits(tmp_path):
    def change(one, number, values):
        fixture.set_pixels(one, values << 4, bits=12)
        one.HighBit = 15

    assert fixture.agrees(changed(tmp_path / "a", change), fixture.volume())


@pytest.mark.parametrize("bits", [13, 16])
def test_signed_values_and_padding(tmp_path, bits):
    def change(one, number, values):
        values = values - 500
        values[:2] = -2000
        fixture.set_pixels(one, values & ((1 << bits) - 1), bits=bits)
        one.PixelRepresentation = 1
        one.RescaleSlope, one.RescaleIntercept = 1, 500
        one.add_new(0x00280120, "US", -2000 & 0xFFFF)  # of the wrong type, as often found

    source = fixture.volume()
    data = source.data.copy()
    data[:, :2] = data[:, 2:].min()
    assert fixture.agrees(changed(tmp_path / "a", change), Volume(data, source.affine))


def test_a_range_of_padding(tmp_path):
    def change(one, number, values):
        values[0], values[1] = 60000, 60010
        fixture.set_pixels(one, values)
        one.add_new(0x00280120, "US", 60000)
        one.add_new(0x00280121, "US", 60020)

    source = fixture.volume()
    data = source.data.copy()
    data[:, :2] = data[:, 2:].min()
    assert fixture.agrees(changed(tmp_path / "a", change), Volume(data, source.affine))


@pytest.mark.parametrize("signed", [False, True])
def test_inverted_values_are_turned_and_it_is_said(tmp_path, signed):
    def change(one, number, values):
        turned = -1 - (values - 2000) if signed else 4095 - values
        fixture.set_pixels(one, turned, bits=16 if signed else 12, signed=signed)
        one.PhotometricInterpretation = "MONOCHROME1"

    source = fixture.volume()
    expected = Volume(source.data - 2000, source.affine) if signed else source
    assert fixture.agrees(changed(tmp_path / "a", change), expected)
    series, _ = only(tmp_path / "a")
    assert any("inverted (MONOCHROME1)" in note.what for note in series.notes)


def test_eight_and_thirty_two_bits(tmp_path):
    small = Volume(np.floor(fixture.volume().data / 16), fixture.oblique())
    eight = changed(
        tmp_path / "a",
        lambda one, number, values: fixture.set_pixels(one, values, bits=8, allocated=8),
        small,
    )
    assert fixture.agrees(eight, small)
    large = changed(
        tmp_path / "b",
        lambda one, number, values: fixture.set_pixels(one, values, bits=32, allocated=32),
    )
    assert fixture.agrees(large, fixture.volume())


def test_a_scale_of_its_own_in_each_slice(tmp_path):
    def change(one, number, values):
        slope = 0.25 + 0.05 * (number % 7)
        fixture.set_pixels(one, np.rint(values / slope))
        one.RescaleSlope, one.RescaleIntercept = f"{slope:g}", 0

    assert fixture.agrees(changed(tmp_path / "a", change), fixture.volume(), tolerance=0.5)


def test_philips_scales_that_disagree_are_brought_to_one(tmp_path):
    def change(one, number, values):
        scale = 1.0 if number % 2 else 2.0  # the same signal, stored twice as high
        fixture.set_pixels(one, values * scale)
        one.RescaleSlope, one.RescaleIntercept = 1, 0
        block = one.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0x0E, "FL", scale)

    assert fixture.agrees(changed(tmp_path / "a", change), fixture.volume())


def test_a_scale_in_some_slices_only_is_refused(tmp_path):
    made = fixture.slices(fixture.volume())
    made[3].RescaleSlope, made[3].RescaleIntercept = 2, 0
    fixture.save(made, tmp_path / "a")
    assert "a scale of the values is given for some of its images only" in refused(tmp_path / "a")


def test_one_slice_that_is_stored_otherwise_is_said(tmp_path):
    made = fixture.slices(fixture.volume())
    fixture.set_pixels(made[3], fixture.stored(made[3]), bits=12)
    series, found = only(fixture.save(made, tmp_path / "a"))
    assert fixture.agrees(found, fixture.volume())
    assert ["store their values in different ways" in n.what for n in series.notes] == [True]


def test_letters_in_an_image_are_said(tmp_path):
    def change(one, number, values):
        values[:] = 5
        values[4:14, 2:22:2] = 4000
        fixture.set_pixels(one, values)

    made = fixture.slices(fixture.volume())
    change(made[3], 3, fixture.stored(made[3]).astype(np.int64))
    fixture.save(made, tmp_path / "a")
    with read_study(tmp_path / "a") as found:
        _, notes = read_volume(found.patients[0].examinations[0].series[0])
    assert ["text may be burned into its images" in note.what for note in notes] == [True]
    assert notes[0].found == "1 images"


# --- broken files --------------------------------------------------------------------------------


def broken(tmp_path, number, make) -> str:
    folder = fixture.save(fixture.slices(fixture.volume()), tmp_path / "a")
    path = folder / f"{number:04d}.dcm"
    path.write_bytes(make(path.read_bytes()))
    return refused(folder)


def test_a_file_that_was_cut(tmp_path):
    told = broken(tmp_path, 5, lambda raw: raw[:-400])
    assert "0005.dcm: it is cut short: 2320 of 2720 bytes of its pixels" in told


def test_a_file_cut_within_its_header_leaves_a_gap_that_is_said(tmp_path):
    folder = fixture.save(fixture.slices(fixture.volume()), tmp_path / "a")
    path = folder / "0005.dcm"
    path.write_bytes(path.read_bytes()[:420])
    with read_study(folder) as found:
        (series,) = found.patients[0].examinations[0].series[:1]
        told = " ".join(f.sentence for f in (*found.notes, *series.problems))
    assert "slice missing between slice 4 and 5" in told or "0005.dcm" in told


def test_no_pixels_wrong_syntax_and_cut_fragments(tmp_path):
    def says_rle(raw):
        return raw.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)

    assert "0003.dcm: cannot be decoded" in broken(tmp_path / "1", 3, says_rle)
    made = fixture.slices(fixture.volume())
    made[6].PixelData = b""
    told = refused(fixture.save(made, tmp_path / "2"))
    assert "0007.dcm: it holds no pixel data" in told
    packed = fixture.save(
        fixture.slices(fixture.volume()),
        tmp_path / "3",
        lambda one: fixture.to_bytes(one, uid.JPEG2000Lossless),
    )
    path = packed / "0002.dcm"
    path.write_bytes(path.read_bytes()[:-200])
    assert "0002.dcm: it is cut short" in refused(packed)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless])
def test_damaged_compressed_pixels_are_refused_by_the_name_of_their_file(tmp_path, syntax):
    folder = fixture.save(
        fixture.slices(fixture.volume()),
        tmp_path / "a",
        lambda one: fixture.to_bytes(one, syntax),
    )
    path = folder / "0004.dcm"
    raw = bytearray(path.read_bytes())
    start = raw.index(b"\xfe\xff\x00\xe0", raw.index(b"\xe0\x7f\x10\x00") + 20) + 8
    raw[start : start + 70] = bytes(70)
    path.write_bytes(raw)
    assert "0004.dcm" in refused(folder)


def test_a_compressed_image_without_its_end_is_refused(tmp_path):
    """The fragment is whole, the JPEG-LS image in it is not; its decoder does not mind."""

    def cut(one):
        made = fixture.pydicom.dcmread(
            fixture.io.BytesIO(fixture.to_bytes(one, uid.JPEGLSLossless))
        )
        (frame,) = fixture.pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1)
        made.PixelData = encapsulate([frame[: len(frame) // 20 * 16]])
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
        buffer = fixture.io.BytesIO()
        made.save_as(buffer)
        return buffer.getvalue()

    made = fixture.slices(fixture.volume())
    fixture.save(made[:4], tmp_path / "a")
    fixture.save(made[4:5], tmp_path / "a", cut)
    fixture.save(made[5:], tmp_path / "a")
    assert "0005.dcm: it is cut short" in refused(tmp_path / "a")


def test_an_encoding_that_is_not_read_is_refused(tmp_path):
    folder = fixture.save(
        fixture.slices(fixture.volume()),
        tmp_path / "a",
        lambda one: fixture.to_bytes(one, uid.RLELossless).replace(
            b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.9\0"
        ),
    )
    assert "its pixels are in an encoding that is not read here" in refused(folder)


def test_a_header_that_lies_about_sizes_costs_nothing(tmp_path):
    made = fixture.slices(fixture.volume())
    made[2].NumberOfFrames = 2_000_000_000
    del made[3].Rows
    del made[4].Columns
    folder = fixture.save(made, tmp_path / "a")
    with read_study(folder) as found:
        series = found.patients[0].examinations[0].series
    assert sum(len(one.images) for one in series) == 12
    assert not [one for one in series if one.usable and one.sequence]
    assert "says that it holds 2e+09 frames" in str([one.problems for one in series])


def test_illegal_values_are_survived(tmp_path):
    source = fixture.volume()
    folder = fixture.save(
        fixture.slices(source, SeriesInstanceUID="1.2.03.x9", BodyPartExamined="BRAIN"),
        tmp_path / "a",
        lambda one: fixture.to_bytes(one).replace(b"BRAIN ", b"b\xf6\\\x07x "),
    )
    series, found = only(folder)
    assert fixture.agrees(found, source) and series.uid == "1.2.03.x9"


def test_a_decimal_comma_is_read(tmp_path):
    source = fixture.volume()
    folder = fixture.save(
        fixture.slices(source, EchoTime="10.5"),
        tmp_path / "a",
        lambda one: fixture.to_bytes(one).replace(b"10.5", b"10,5"),
    )
    assert only(folder)[0].images[0].get("EchoTime") == 10.5
