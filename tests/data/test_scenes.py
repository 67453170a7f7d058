import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis_asym.data.scenes import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    SPLITS,
    Count,
    Description,
    Object,
    Relation,
    Scene,
    Thing,
    draw,
    holds,
    make_scene,
    render,
    say,
)

SAMPLE = [make_scene(0, split, index) for split in SPLITS for index in range(60)]
FACTS = [(scene, k) for scene in SAMPLE for k in range(len(scene.captions))]
VOCABULARY = {"shape": SHAPES, "colour": tuple(COLOURS), "size": SIZES, "place": PLACES}
OFF_CENTRE = {"ring": (0.12, 0.5), "crescent": (0.14, 0.5)}
STAR_RING_ARROW = (Thing("star"), Thing("ring"), Thing("arrow"))

seeds = st.integers(min_value=-(2**40), max_value=2**40)
some_scene = st.builds(make_scene, seeds, st.sampled_from(SPLITS), st.integers(min_value=0, max_value=10**7))


def _content_of(scene):
    return tuple(tuple(getattr(obj, name) for name in ATTRIBUTES) for obj in scene.objects)


def _scene(*objects):
    """A scene of (shape, colour, size, place) rows, each in the middle of its cell."""
    side = {"small": 34, "large": 59}

    def box(size, place):
        row, column = divmod(PLACES.index(place), 3)
        left, top = (1 + 74 * k + (74 - side[size]) // 2 for k in (column, row))
        return left, top, left + side[size], top + side[size]

    made = tuple(Object(shape, colour, size, place, box(size, place)) for shape, colour, size, place in objects)
    return Scene("test-00000", made, (), (), (), "ivory")


CIRCLE_AND_SQUARE = _scene(("circle", "red", "small", "top left"), ("square", "blue", "large", "centre"))


# Scenes


@settings(max_examples=60, deadline=None)
@given(some_scene)
def test_objects_are_within_the_vocabulary_apart_and_inside_their_cells(scene):
    assert 2 <= len(scene.objects) <= 6
    assert scene.background in BACKGROUNDS
    assert len({(obj.shape, obj.colour) for obj in scene.objects}) == len(scene.objects)
    assert [PLACES.index(obj.place) for obj in scene.objects] == sorted({PLACES.index(o.place) for o in scene.objects})
    for obj in scene.objects:
        assert all(getattr(obj, name) in VOCABULARY[name] for name in ATTRIBUTES)
        left, top, right, bottom = obj.box
        row, column = divmod(PLACES.index(obj.place), 3)
        assert 1 + 74 * column <= left < right <= 75 + 74 * column and right - left == bottom - top
        assert 1 + 74 * row <= top < bottom <= 75 + 74 * row
        assert right - left <= 36 if obj.size == "small" else right - left >= 56


@settings(max_examples=60, deadline=None)
@given(some_scene)
def test_boxes_never_overlap_and_relations_follow_the_grid(scene):
    for one, other in itertools.permutations(scene.objects, 2):
        (row, column), (other_row, other_column) = (divmod(PLACES.index(obj.place), 3) for obj in (one, other))
        true = {word for word, relation in RELATIONS.items() if relation(one.box, other.box)}
        expected = {"left of": column < other_column, "right of": column > other_column}
        expected.update({"above": row < other_row, "below": row > other_row})
        assert true == {word for word, is_true in expected.items() if is_true}
        assert true, "boxes with no relation overlap"


@settings(max_examples=60, deadline=None)
@given(some_scene)
def test_captions_are_five_distinct_true_phrases(scene):
    assert len(scene.captions) == len(scene.facts) == len(scene.mentions) == 5
    assert len(set(scene.captions)) == 5
    assert len({replace(facts, wording=0) for facts in scene.facts}) == 5
    assert scene.captions == tuple(say(facts) for facts in scene.facts)
    assert all(holds(facts, scene) for facts in scene.facts)
    assert holds(scene.facts, scene)


@settings(max_examples=60, deadline=None)
@given(some_scene)
def test_mentions_line_up_with_things_and_counted_groups(scene):
    for facts, mentions in zip(scene.facts, scene.mentions):
        objects = [scene.objects[i] for i in mentions]
        assert len(set(mentions)) == len(mentions) >= 1
        for thing, obj in zip(facts.things, objects):
            assert all(getattr(thing, name) in (None, getattr(obj, name)) for name in ATTRIBUTES)
        for relation in facts.relations:
            assert RELATIONS[relation.word](objects[relation.subject].box, objects[relation.target].box)
        groups = [count for count in facts.counts if count.thing != Thing()]
        assert len(mentions) == len(facts.things) + sum(group.number for group in groups)


@settings(max_examples=60, deadline=None)
@given(some_scene)
def test_one_caption_says_less_and_one_names_all(scene):
    everything = set(range(len(scene.objects)))
    assert any(len(mentions) <= 2 and set(mentions) < everything for mentions in scene.mentions)
    assert any(
        set(mentions) == everything and all(thing.shape and thing.colour for thing in facts.things)
        for facts, mentions in zip(scene.facts, scene.mentions)
    )


def test_same_arguments_same_scene_and_other_arguments_another():
    assert make_scene(5, "val", 7) == make_scene(5, "val", 7)
    others = [make_scene(6, "val", 7), make_scene(5, "test", 7), make_scene(5, "val", 8)]
    assert len({_content_of(scene) for scene in [make_scene(5, "val", 7), *others]}) == 4


def test_splits_share_no_scene_under_several_seeds():
    pairs = {split: set() for split in SPLITS}
    for split, seed, index in itertools.product(SPLITS, range(3), range(150)):
        pairs[split].add(_content_of(make_scene(seed, split, index)))
    assert not any(pairs[one] & pairs[other] for one, other in itertools.combinations(SPLITS, 2))


def test_each_content_has_one_home_split():
    homes = [draw._home(make_scene(1, split, index).objects) for split in SPLITS for index in range(20)]
    assert homes == [split for split in SPLITS for _ in range(20)]


@pytest.mark.parametrize(("split", "index"), [("dev", 0), ("train", -1)])
def test_make_scene_refuses_what_it_cannot_make(split, index):
    with pytest.raises(ValueError):
        make_scene(0, split, index)


def test_fullest_captions_tell_nearly_all_test_scenes_apart():
    gallery = [make_scene(0, "test", index) for index in range(100)]
    fullest = [max(scene.facts, key=lambda facts: len(say(facts))) for scene in gallery]
    unique = sum(sum(holds(facts, other) for other in gallery) == 1 for facts in fullest)
    assert unique >= 95


# Truth


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_absent_from_the_scene_does_not_hold(name):
    swaps = 0
    for scene, k in FACTS:
        facts = scene.facts[k]
        absent = [v for v in VOCABULARY[name] if v not in {getattr(obj, name) for obj in scene.objects}]
        for i, thing in enumerate(facts.things):
            if getattr(thing, name) and absent:
                wrong = replace(thing, **{name: absent[0]})
                assert not holds(replace(facts, things=(*facts.things[:i], wrong, *facts.things[i + 1 :])), scene)
                swaps += 1
    assert swaps > 10


def test_a_reversed_relation_between_named_objects_does_not_hold():
    reverse = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    related = [(s, s.facts[k]) for s, k in FACTS if s.facts[k].relations and all(t.colour for t in s.facts[k].things)]
    assert len(related) > 10
    for scene, facts in related:
        first, *others = facts.relations
        assert not holds(replace(facts, relations=(replace(first, word=reverse[first.word]), *others)), scene)


def test_a_wrong_count_does_not_hold():
    counted = [(s, s.facts[k]) for s, k in FACTS if s.facts[k].counts]
    assert len(counted) > 10
    for scene, facts in counted:
        for step in (-1, 1):
            wrong = replace(facts.counts[0], number=facts.counts[0].number + step)
            assert not holds(replace(facts, counts=(wrong,)), scene)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Description(), True),
        (Description((Thing(),)), True),
        (Description((Thing("circle", "red", "small", "top left"),)), True),
        (Description((Thing("circle", "blue"),)), False),
        (Description((Thing(colour="red"), Thing(colour="blue"))), True),
        (Description((Thing("circle"), Thing("circle"))), False),
        (Description((Thing(), Thing(), Thing())), False),
        (Description((Thing("circle"), Thing("square")), (Relation(0, "left of", 1),)), True),
        (Description((Thing("circle"), Thing("square")), (Relation(0, "above", 1),)), True),
        (Description((Thing("circle"), Thing("square")), (Relation(1, "left of", 0),)), False),
        (Description((Thing(), Thing()), (Relation(1, "left of", 0),)), True),
        (Description(counts=(Count(2),)), True),
        (Description(counts=(Count(3),)), False),
        (Description(counts=(Count(1, Thing(colour="red")), Count(0, Thing(colour="pink")))), True),
        (Description((Thing("circle"),), counts=(Count(1),)), False),
        ([Description((Thing("circle"),)), Description((Thing(colour="red"),))], True),
        ([Description((Thing("circle"),)), Description((Thing("star"),))], False),
        ([], True),
    ],
)
def test_holds(facts, expected):
    assert holds(facts, CIRCLE_AND_SQUARE) is expected


def test_things_match_whichever_objects_make_all_of_it_true():
    scene = _scene(("circle", "red", "small", "top left"), ("circle", "blue", "small", "top right"))
    either = Description((Thing("circle"), Thing(colour="red")), (Relation(0, "right of", 1),))
    assert holds(either, scene)
    assert not holds(replace(either, relations=(Relation(0, "left of", 1),)), scene)


def test_says_less_holds_in_more_scenes():
    less = Description((Thing("circle"),))
    more = Description((Thing("circle", "red"), Thing("square")))
    other = _scene(("circle", "pink", "small", "top left"), ("star", "blue", "large", "centre"))
    assert [holds(less, scene) for scene in (CIRCLE_AND_SQUARE, other)] == [True, True]
    assert [holds(more, scene) for scene in (CIRCLE_AND_SQUARE, other)] == [True, False]


# Words


@settings(max_examples=60, deadline=None)
@given(some_scene)
def test_captions_read_as_english(scene):
    for caption in scene.captions:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption), caption
        assert not re.search(r"  | ,|,,|and,|, and (?!there |the |an? .* is )|[.]$|[A-Z]|None", caption), caption
        assert caption == caption.strip() and 2 <= len(caption.split()) <= 40


@settings(max_examples=60, deadline=None)
@given(some_scene, st.randoms(use_true_random=False))
def test_one_changed_attribute_changes_one_detail_of_the_words(scene, rng):
    facts = rng.choice([facts for facts in scene.facts if facts.things])
    name = rng.choice([name for name in ("shape", "colour") if getattr(facts.things[0], name)])
    before = getattr(facts.things[0], name)
    after = rng.choice([value for value in VOCABULARY[name] if value != before])
    changed = replace(facts, things=(replace(facts.things[0], **{name: after}), *facts.things[1:]))
    words, changed_words = say(facts).split(), say(changed).split()
    different = [(a.strip(","), b.strip(",")) for a, b in zip(words, changed_words) if a != b]
    assert len(words) == len(changed_words)
    assert set(different) - {("a", "an"), ("an", "a")} == {(before, after)}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Description((Thing("ring", "orange"),)), "an orange ring"),
        (Description((Thing("arrow"), Thing("circle", "red"), Thing("star"))), "an arrow, a red circle and a star"),
        (Description((Thing("star"), Thing("ring", place="centre"))), "a ring in the (centre|middle.*) and a star"),
        (Description((Thing("star"),), counts=(Count(2, Thing("cross")),)), "two crosses and a star"),
        (
            Description((Thing("star", place="centre"),), counts=(Count(2, Thing("cross")),)),
            "a star in the (centre|middle.*) and two crosses",
        ),
        (Description(counts=(Count(2, Thing(colour="red")),)), "two red (shapes|objects)"),
        (Description((Thing("star"), Thing("ring")), counts=(Count(2),)), "two (shapes|objects): a star and a ring"),
        (Description((Thing("star"),), counts=(Count(4),)), "four (shapes|objects), including a star"),
        (Description(counts=(Count(4),)), "four (shapes|objects)"),
        (
            Description((Thing("star"), Thing("ring")), (Relation(0, "left of", 1),)),
            "a star( is)?( to the)? left of a ring",
        ),
        (
            Description((Thing("star"), Thing("ring"), Thing("cross")), (Relation(0, "above", 1),)),
            "a star is (above|higher up than) a ring, and there is also a cross",
        ),
        (
            Description(STAR_RING_ARROW, (Relation(0, "above", 1), Relation(1, "above", 2))),
            "a star is (above|higher up than) a ring, which is (above|higher up than) an arrow",
        ),
        (
            Description(STAR_RING_ARROW, (Relation(0, "above", 1), Relation(0, "above", 2))),
            "a star is (above|higher up than) a ring, and the star is (above|higher up than) an arrow",
        ),
    ],
)
def test_say(facts, expected):
    for wording in range(20):
        said = re.sub(r"^(a picture|an image|a drawing) of ", "", say(replace(facts, wording=wording)))
        assert re.fullmatch(expected, said), said


def test_nothing_has_no_words():
    with pytest.raises(ValueError):
        say(Description())


# Images


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_an_object_shows_its_colour_on_its_background(shape, size):
    for colour, background in itertools.product(COLOURS, BACKGROUNDS):
        scene = replace(_scene((shape, colour, size, "top left")), background=background)
        image = render(scene)
        left, top, right, bottom = scene.objects[0].box
        x, y = OFF_CENTRE.get(shape, (0.5, 0.5))
        assert (image.mode, image.size) == ("RGB", (224, 224))
        assert image.getpixel((left + int(x * (right - left)), top + int(y * (bottom - top)))) == COLOURS[colour]
        assert image.getpixel((223, 223)) == BACKGROUNDS[background]


def test_made_scenes_show_every_object_and_nothing_outside_the_boxes():
    for scene in SAMPLE[:30]:
        image = render(scene)
        for obj in scene.objects:
            left, top, right, bottom = obj.box
            x, y = OFF_CENTRE.get(obj.shape, (0.5, 0.5))
            pixel = image.getpixel((left + int(x * (right - left)), top + int(y * (bottom - top))))
            assert pixel == COLOURS[obj.colour]
            image.paste(BACKGROUNDS[scene.background], obj.box)
        assert image.getcolors() == [(224 * 224, BACKGROUNDS[scene.background])]


def test_shapes_of_one_size_and_colour_differ_clearly():
    images = [render(_scene((shape, "black", "small", "centre"))).convert("L") for shape in SHAPES]
    for one, other in itertools.combinations(images, 2):
        differing = sum(abs(a - b) > 60 for a, b in zip(one.tobytes(), other.tobytes()))
        assert differing > 100
