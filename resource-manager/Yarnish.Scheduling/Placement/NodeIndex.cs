namespace Yarnish.Scheduling;

/// <summary>
/// The nodes of a partition as a tournament tree: each inner entry holds, over the nodes below it, the largest free amount of each resource and the best score.
/// A change of one node costs the logarithm of their number; the best fitting node is found by descending only where something fits that could beat the best
/// so far, so the answer is exact. Nodes that take nothing have -1 everywhere.
/// </summary>
internal sealed class NodeIndex
{
    private readonly List<Node> _nodes = [];
    private long[] _tree = [];
    private int _leaves;
    private int _stride;
    private int _resources;

    private NodeOrder _order;
    private Shape _shape = Shape.Nothing;
    private AskEntry? _ask;
    private Strictness _strictness;
    private Placing _placing = null!;
    private Node? _best;
    private long _bestScore;

    /// <summary>The nodes, in the order they came.</summary>
    public List<Node> Nodes => _nodes;

    /// <summary>Adds a node at the end.</summary>
    public void Add(Node node, int resources)
    {
        node.IndexPlace = _nodes.Count;
        _nodes.Add(node);
        if (_nodes.Count > _leaves || resources != _resources)
        {
            Rebuild(resources);
        }
        else
        {
            Update(node);
        }
    }

    /// <summary>Removes a node; the rest keep their order.</summary>
    public void Remove(Node node)
    {
        _nodes.RemoveAt(node.IndexPlace);
        node.IndexPlace = -1;
        Rebuild(_resources);
    }

    /// <summary>Computes everything anew, such as after a new resource was seen.</summary>
    public void Rebuild(int resources)
    {
        _resources = resources;
        _stride = resources + 1;
        _leaves = 1;
        while (_leaves < _nodes.Count)
        {
            _leaves <<= 1;
        }
        var size = 2 * _leaves * _stride;
        if (_tree.Length < size)
        {
            _tree = new long[size];
        }
        Array.Fill(_tree, -1, 0, size);
        for (var i = 0; i < _nodes.Count; i++)
        {
            _nodes[i].IndexPlace = i;
            WriteLeaf(_nodes[i]);
        }
        for (var at = _leaves - 1; at >= 1; at--)
        {
            Pull(at);
        }
    }

    /// <summary>Takes over what is free on a node now.</summary>
    public void Update(Node node)
    {
        WriteLeaf(node);
        for (var at = (_leaves + node.IndexPlace) >> 1; at >= 1; at >>= 1)
        {
            if (!Pull(at))
            {
                break;
            }
        }
    }

    /// <summary>The node that an ask gets, or null. The judge of each candidate is <see cref="Placing.Fit"/>.</summary>
    public Node? Find(AskEntry ask, Strictness strictness, Placing placing, NodeOrder order)
    {
        if (_nodes.Count == 0)
        {
            return null;
        }
        (_ask, _shape, _strictness, _placing, _order) = (ask, ask.Shape, strictness, placing, order);
        _best = null;
        _bestScore = -1;
        Search(1, 0, _leaves);
        return _best;
    }

    /// <summary>The score of a node, larger is better: its free dominant share in 2^20 parts.</summary>
    public static long Score(Node node, int resources)
    {
        var score = 1L << 20;
        for (var i = 0; i < resources; i++)
        {
            var capacity = node.Capacity[i];
            if (capacity > 0)
            {
                // Amounts stay below 2^46 (ResourceTypes.Largest), so 17 bits of shift are safe; three more come from the result.
                var free = Math.Max(0, capacity - node.Allocated[i]);
                score = Math.Min(score, ((free << 16) / capacity) << 4);
            }
        }
        return score;
    }

    /// <summary>Whether the tree equals one computed from scratch: for the invariants.</summary>
    public bool IsConsistent()
    {
        for (var i = 0; i < _nodes.Count; i++)
        {
            var at = (_leaves + i) * _stride;
            var node = _nodes[i];
            if (node.IndexPlace != i || _tree[at] != (node.IsOpen ? Score(node, _resources) : -1))
            {
                return false;
            }
            for (var r = 0; r < _resources; r++)
            {
                if (_tree[at + 1 + r] != (node.IsOpen ? node.Capacity[r] - node.Allocated[r] : -1))
                {
                    return false;
                }
            }
        }
        for (var at = _leaves - 1; at >= 1; at--)
        {
            if (Pull(at))
            {
                return false;
            }
        }
        return true;
    }

    private void WriteLeaf(Node node)
    {
        var at = (_leaves + node.IndexPlace) * _stride;
        var tree = _tree.AsSpan(at, _stride);
        if (!node.IsOpen)
        {
            tree.Fill(-1);
            return;
        }
        tree[0] = Score(node, _resources);
        for (var r = 0; r < _resources; r++)
        {
            tree[r + 1] = node.Capacity[r] - node.Allocated[r];
        }
    }

    private bool Pull(int at)
    {
        var tree = _tree;
        var stride = _stride;
        var to = tree.AsSpan(at * stride, stride);
        var children = tree.AsSpan(2 * at * stride, 2 * stride);
        var changed = false;
        for (var k = 0; k < to.Length; k++)
        {
            var most = Math.Max(children[k], children[k + stride]);
            changed |= to[k] != most;
            to[k] = most;
        }
        return changed;
    }

    private void Search(int at, int first, int width)
    {
        var entry = _tree.AsSpan(at * _stride, _stride);
        if (entry[0] < 0 || (_best is not null && !CouldBeat(entry[0], first)))
        {
            return;
        }
        for (var r = 0; r < _resources; r++)
        {
            if (_shape.Vector[r] > entry[r + 1])
            {
                return;
            }
        }
        if (at >= _leaves)
        {
            Consider(_nodes[first], entry[0]);
            return;
        }
        var half = width >> 1;
        var rightFirst = _order == NodeOrder.Spread && _tree[((2 * at) + 1) * _stride] > _tree[2 * at * _stride];
        if (rightFirst)
        {
            Search((2 * at) + 1, first + half, half);
            Search(2 * at, first, half);
        }
        else
        {
            Search(2 * at, first, half);
            Search((2 * at) + 1, first + half, half);
        }
    }

    // Whether entries from this place on, of at most this score, could beat the best so far.
    private bool CouldBeat(long score, int first) =>
        _order == NodeOrder.Spread && (score > _bestScore || (score == _bestScore && first < _best!.IndexPlace));

    private void Consider(Node node, long score)
    {
        if (_placing.Fit(node, _ask!, _strictness) == WaitingKind.InTurn)
        {
            _best = node;
            _bestScore = score;
        }
    }
}
