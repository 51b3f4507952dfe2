"""Libraries that take a pool or an executor: each with ours, against what it finds serially.

They are in the extra `clients`; a test whose library is not there is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import math
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tasks

import procession
from procession import Pool, ProcessPoolExecutor
from procession.cli.main import main

with contextlib.suppress(ImportError):
    import sklearn  # noqa: F401 (it sets environment variables, which are not to be a test's leak)


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Give a pool of two workers."""
    with Pool(2) as made:
        yield made


@pytest.fixture
def executor() -> Iterator[ProcessPoolExecutor]:
    """Give an executor of two workers."""
    with ProcessPoolExecutor(2) as made:
        yield made


@pytest.fixture
def joblib() -> Iterator[Any]:
    """Give joblib with our backend as the one that is used."""
    module = pytest.importorskip("joblib")
    from procession.integrations import joblib as backend

    backend.register()
    with module.parallel_config("procession", n_jobs=2):
        yield module
    backend.shutdown()
    del module.parallel.BACKENDS["procession"]


def bowl(point: Any) -> float:
    """Something to be minimized, with its minimum at 1."""
    return float(sum((each - 1) ** 2 for each in point))


def log_gauss(point: Any) -> float:
    """The logarithm of a density."""
    return -0.5 * float(sum(each**2 for each in point))


def to_cube(point: Any) -> Any:
    """From the unit cube to where the density is."""
    return 10 * point - 5


def residual(parameters: Any, x: Any, y: Any) -> Any:
    """How far a line is from the data."""
    return parameters["slope"] * x + parameters["offset"] - y


def log_line(parameters: Any, x: Any, y: Any) -> float:
    """The logarithm of the density of a line."""
    return -0.5 * float((residual(parameters, x, y) ** 2).sum())


# ---------------------------------------------------------------------------------------------------------- scientific


def test_scipy_differential_evolution(pool: Pool) -> None:
    """`workers=` takes the map of a pool; the digits are those of the serial run."""
    optimize = pytest.importorskip("scipy.optimize")
    settings: dict[str, Any] = {"seed": 1, "maxiter": 20, "updating": "deferred", "polish": False}
    ours = optimize.differential_evolution(bowl, [(-5, 5)] * 2, workers=pool.map, **settings)
    theirs = optimize.differential_evolution(bowl, [(-5, 5)] * 2, workers=1, **settings)
    assert ours.x.tolist() == theirs.x.tolist()


def test_scipy_brute(pool: Pool) -> None:
    """On a grid."""
    optimize = pytest.importorskip("scipy.optimize")
    ranges = (slice(-2, 2, 0.5), slice(-2, 2, 0.5))
    assert optimize.brute(bowl, ranges, workers=pool.map, finish=None).tolist() == [1, 1]


def test_emcee(pool: Pool) -> None:
    """An ensemble of walkers, whose positions are those of the serial run."""
    emcee = pytest.importorskip("emcee")
    np = pytest.importorskip("numpy")

    def chain(**settings: Any) -> Any:
        np.random.seed(1)
        sampler = emcee.EnsembleSampler(8, 2, log_gauss, **settings)
        sampler.run_mcmc(np.random.randn(8, 2), 20)
        return sampler.get_chain()

    assert (chain(pool=pool) == chain()).all()


@pytest.mark.filterwarnings("ignore:The sampling was stopped short")
def test_dynesty(pool: Pool) -> None:
    """Nested sampling, with a pool that it asks for its size, or is told it."""
    dynesty = pytest.importorskip("dynesty")
    np = pytest.importorskip("numpy")

    def evidence(**settings: Any) -> float:
        generator = np.random.default_rng(1)
        sampler = dynesty.NestedSampler(log_gauss, to_cube, 2, nlive=30, rstate=generator, **settings)
        sampler.run_nested(maxiter=150, print_progress=False, add_live=False)
        return float(sampler.results.logz[-1])

    assert math.isclose(evidence(pool=pool, queue_size=2), evidence(), abs_tol=1.5)


def test_lmfit(pool: Pool) -> None:
    """Its `emcee` takes a pool through `workers=`, its `brute` through that of scipy."""
    lmfit = pytest.importorskip("lmfit")
    pytest.importorskip("emcee")
    np = pytest.importorskip("numpy")
    x = np.linspace(0, 1, 20)
    y = 2 * x + 1
    parameters = lmfit.create_params(
        slope={"value": 1.9, "min": 0, "max": 4}, offset={"value": 1.1, "min": 0, "max": 4}
    )

    def median(workers: Any) -> float:
        minimizer = lmfit.Minimizer(log_line, parameters, fcn_args=(x, y))
        found = minimizer.emcee(
            steps=15, nwalkers=8, seed=1, workers=workers, progress=False, float_behavior="posterior"
        )
        return float(found.params["slope"].value)

    assert median(pool) == median(1)


def test_pymoo(pool: Pool) -> None:
    """Its runner takes the `starmap` of a pool."""
    parallelization = pytest.importorskip("pymoo.parallelization.starmap")
    np = pytest.importorskip("numpy")
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.optimize import minimize

    class Bowl(ElementwiseProblem):  # type: ignore[misc]
        def __init__(self, **settings: Any) -> None:
            super().__init__(n_var=2, n_obj=1, xl=np.array([-2, -2]), xu=np.array([2, 2]), **settings)

        def _evaluate(self, x: Any, out: Any, *_args: Any, **_settings: Any) -> None:
            out["F"] = bowl(x)

    runner = parallelization.StarmapParallelization(pool.starmap)
    ours = minimize(Bowl(elementwise_runner=runner), GA(pop_size=10), ("n_gen", 3), seed=1)
    theirs = minimize(Bowl(), GA(pop_size=10), ("n_gen", 3), seed=1)
    assert ours.X.tolist() == theirs.X.tolist()


def test_scikit_learn(joblib: Any) -> None:
    """Through joblib: scores and forests are those of a single process."""
    np = pytest.importorskip("numpy")
    pytest.importorskip("sklearn")
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GridSearchCV

    data, kinds = make_classification(80, random_state=1)
    search = GridSearchCV(RandomForestClassifier(5, random_state=1), {"max_depth": [2, 4]}, cv=2)
    ours = search.fit(data, kinds).cv_results_["mean_test_score"]
    with joblib.parallel_config("sequential"):
        assert np.array_equal(search.fit(data, kinds).cv_results_["mean_test_score"], ours)


# --------------------------------------------------------------------------------------------------------- pool makers


class MultiPool(Pool):
    """A pool with a callback for every result, as schwimmbad's."""

    def __init__(self, processes: int, **settings: Any) -> None:
        super().__init__(processes, **settings)
        self.size = self._processes

    @staticmethod
    def enabled() -> bool:
        """Say that it can be used."""
        return True

    def map(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Any,
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
    ) -> list[Any]:
        """Map, and call back with all results."""
        return self.map_async(func, iterable, chunksize, callback).get(60)


def test_a_subclass_of_the_pool_may_have_a_map_of_its_own() -> None:
    """As schwimmbad's; with the attributes that such libraries read."""
    found: list[Any] = []
    with MultiPool(2) as pool:
        assert pool.map(tasks.double, range(5), callback=found.append) == [0, 2, 4, 6, 8]
        assert found == [[0, 2, 4, 6, 8]]
        assert pool.size == pool._processes == len(pool._pool) == 2
        with pool.__class__(1) as another:
            assert (type(another), another._processes) == (MultiPool, 1)


def test_schwimmbad(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own class, with our pool in the place of the one that it subclasses."""
    module = pytest.importorskip("schwimmbad.multiprocessing")
    found: list[Any] = []
    try:
        with monkeypatch.context() as patched:
            patched.setattr("multiprocess.pool.Pool", Pool)
            importlib.reload(module)
        with module.MultiPool(2) as pool:
            assert isinstance(pool, Pool)
            assert pool.map(tasks.double, range(5), callback=found.append) == [0, 2, 4, 6, 8]
            assert pool.size == 2
        assert found == [0, 2, 4, 6, 8]
    finally:
        importlib.reload(module)


# --------------------------------------------------------------------------------------------------------- frameworks


def test_dask_with_a_pool(pool: Pool) -> None:
    """Where it asks for `pool=`, it takes ours."""
    dask = pytest.importorskip("dask")
    with dask.config.set(pool=pool, scheduler="processes"):
        assert dask.delayed(sum)([dask.delayed(tasks.double)(number) for number in range(10)]).compute() == 90


def test_dask_with_an_executor(executor: ProcessPoolExecutor) -> None:
    """Under either of its names."""
    dask = pytest.importorskip("dask")
    bag = pytest.importorskip("dask.bag")
    total = bag.from_sequence(range(20), npartitions=4).map(tasks.double).sum()
    assert total.compute(scheduler=executor) == 380
    with dask.config.set(pool=executor, scheduler="processes"):
        assert total.compute() == 380


def test_tqdm_process_map(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`process_map` with our executor in the place of the standard one, and a lock of ours; and a bar around `imap`."""
    concurrent = pytest.importorskip("tqdm.contrib.concurrent")
    import tqdm

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", ProcessPoolExecutor)
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # a thread that stays
    monkeypatch.setattr(concurrent.tqdm_auto, "_lock", procession.RLock(), raising=False)  # `set_lock`, to be undone
    assert concurrent.process_map(tasks.double, range(20), max_workers=2, chunksize=3) == list(range(0, 40, 2))
    with Pool(2) as pool:
        assert list(tqdm.tqdm(pool.imap(tasks.double, range(20)), total=20)) == list(range(0, 40, 2))
    assert "20/20" in capsys.readouterr().err


def test_asyncio(executor: ProcessPoolExecutor) -> None:
    """`run_in_executor` takes it, also as the loop's default if it is asked for by name."""

    async def run() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, tasks.double, number) for number in range(10)))

    assert asyncio.run(run()) == list(range(0, 20, 2))


def test_apscheduler() -> None:
    """Its executor class, on our executor: jobs run in workers and their results are told."""
    pools = pytest.importorskip("apscheduler.executors.pool")
    from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
    from apscheduler.schedulers.background import BackgroundScheduler
    from tests.helpers.eventually import eventually

    class Ours(pools.BasePoolExecutor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(ProcessPoolExecutor(2))

    events: list[Any] = []
    scheduler = BackgroundScheduler(executors={"default": Ours()}, timezone="UTC")
    scheduler.add_listener(events.append, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.start()
    try:
        scheduler.add_job(operator.mul, args=(6, 7))
        scheduler.add_job(operator.truediv, args=(6, 0))
        eventually(lambda: len(events) == 2)
    finally:
        scheduler.shutdown()
    assert sorted((event.retval, type(event.exception)) for event in events if not event.exception) == [
        (42, type(None))
    ]
    assert [type(event.exception) for event in events if event.exception] == [ZeroDivisionError]


def test_parquet(pool: Pool, tmp_path: Path) -> None:
    """A journal becomes a file that pandas reads: values as they are, or as JSON where they are of no one kind."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    journal, output = str(tmp_path / "run.db"), str(tmp_path / "run.parquet")
    for function, values in ((float, [1.0, 2.0]), (repr_and_array, ['["1", [0, 1]]', '["2", [0, 1]]'])):
        pool.map(function, ["1", "2"], journal=journal)
        assert main(["export", journal, "--output", output, "--function", function.__name__]) == 0
        assert pandas.read_parquet(output)[["item", "value"]].values.tolist() == [["1", values[0]], ["2", values[1]]]


def repr_and_array(item: str) -> Any:
    """A value that is no number and no text."""
    import numpy as np

    return item, np.arange(2)
