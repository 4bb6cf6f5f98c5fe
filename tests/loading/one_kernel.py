"""What a loader needs in some tests: one small kernel, because all of them take many seconds to compile."""


def compile_one(*arguments: object) -> None:
    from formwork.loading.random_numbers import words

    words(0, 0, [1, 2, 3], "test")
