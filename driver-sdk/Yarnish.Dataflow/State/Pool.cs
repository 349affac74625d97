namespace Yarnish.Dataflow;

/// <summary>Stages that share slots first in, first out; pools share by weight.</summary>
internal sealed class Pool(string name)
{
    public string Name { get; } = name;

    public int Weight { get; set; } = 1;

    public int MinimumShare { get; set; }

    /// <summary>Attempts in flight.</summary>
    public int Running { get; set; }

    /// <summary>Stages that belong to it.</summary>
    public int Stages { get; set; }

    /// <summary>Stages with something to send, in the order of their jobs.</summary>
    public List<Stage> Runnable { get; } = [];

    /// <summary>Who goes first: pools below their minimum share, then those with the least running per weight, then by name. After Spark's <c>FairSchedulingAlgorithm</c>.</summary>
    public static int Compare(Pool a, Pool b)
    {
        var needyA = a.Running < a.MinimumShare;
        var needyB = b.Running < b.MinimumShare;
        if (needyA != needyB)
        {
            return needyA ? -1 : 1;
        }
        var order = needyA
            ? ((long)a.Running * b.MinimumShare).CompareTo((long)b.Running * a.MinimumShare)
            : ((long)a.Running * b.Weight).CompareTo((long)b.Running * a.Weight);
        return order != 0 ? order : string.CompareOrdinal(a.Name, b.Name);
    }

    public void Add(Stage stage)
    {
        if (stage.IsRunnable)
        {
            return;
        }
        stage.IsRunnable = true;
        var at = Runnable.Count;
        while (at > 0 && stage.GoesBefore(Runnable[at - 1]))
        {
            at--;
        }
        Runnable.Insert(at, stage);
    }

    public void Remove(Stage stage)
    {
        if (stage.IsRunnable)
        {
            stage.IsRunnable = false;
            Runnable.Remove(stage);
        }
    }
}
