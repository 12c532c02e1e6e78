"""Leaves out of the arm's meshes the detail that small frames hardly show: drawing them takes most of the time.

Letters: V vertices, F faces and M cells of one mesh, K of these faces that remain.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int

from lewm_data.envs.mujoco.camera import MjModel

# The choices of detail, the usual one first: the side of a cell of the meshes, in pixels at the table.
CELLS = {"full": 0.25, "coarse": 1.0}
TABLE_WIDTH = 0.75  # m
# Share of the planes' own weight with which a cell's mean draws its vertex, where the planes leave it free to slide.
PULL = 0.01


def simplify(model: MjModel, cell: float) -> None:
    """Merges the vertices in each cell of every mesh of a model that is only for drawing.

    Args:
        model: The model, which is changed.
        cell: Side of a cell, in m.
    """
    for mesh in range(model.nmesh):
        vertices = model.mesh(mesh).vertadr[0] + np.arange(model.mesh(mesh).vertnum[0])
        faces = model.mesh(mesh).faceadr[0] + np.arange(model.mesh(mesh).facenum[0])
        merged, kept = _merge(model.mesh_vert[vertices], model.mesh_face[faces], cell)
        model.mesh_vert[vertices] = merged
        for corners in (model.mesh_face, model.mesh_facenormal, model.mesh_facetexcoord):
            corners[faces[: len(kept)]] = corners[faces[kept]]
        model.mesh_facenum[mesh] = len(kept)


def _merge(
    vertices: Float32[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], cell: float
) -> tuple[Float32[np.ndarray, "V 3"], Int[np.ndarray, " K"]]:
    """The vertices, one place for all in a cell of a grid, and the faces that still have three corners.

    The place is the one with the least sum of squared distances to the planes of the faces around these vertices, each
    weighted by the face's area, and at most one cell from the vertices' mean.

    Source: Lindstrom, Out-of-core simplification of large polygonal models, SIGGRAPH 2000.
    """
    _, cells = np.unique(np.floor(vertices / cell), axis=0, return_inverse=True)
    cells = cells.ravel()
    count = np.bincount(cells)
    means = np.stack([np.bincount(cells, coordinate) / count for coordinate in vertices.T], axis=1)
    places = means + np.clip(_nearest_to_planes(vertices.astype(np.float64), faces, cells, means), -cell, cell)
    a, b, c = cells[faces].T
    return places[cells].astype(np.float32), np.flatnonzero((a != b) & (b != c) & (c != a))


def _nearest_to_planes(
    vertices: Float64[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    cells: Int[np.ndarray, " V"],
    means: Float64[np.ndarray, "M 3"],
) -> Float64[np.ndarray, "M 3"]:
    """For each cell, the way from its mean to the point that is nearest to the planes of its faces."""
    corners = vertices[faces]  # (F, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])  # (F, 3), twice the area long
    normals /= np.sqrt(np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(np.float64).tiny))
    quadrics, ways = np.zeros((len(means), 3, 3)), np.zeros((len(means), 3))
    for corner in range(3):
        own = cells[faces[:, corner]]  # (F,) the cell of this corner
        heights = ((corners[:, corner] - means[own]) * normals).sum(axis=1)
        np.add.at(quadrics, own, normals[:, :, None] * normals[:, None, :])
        np.add.at(ways, own, heights[:, None] * normals)
    pull = PULL * np.trace(quadrics, axis1=1, axis2=2) + np.finfo(np.float64).tiny  # a cell may have no face
    ways = np.linalg.solve(quadrics + pull[:, None, None] * np.eye(3), ways[:, :, None])
    return np.asarray(ways[:, :, 0])
