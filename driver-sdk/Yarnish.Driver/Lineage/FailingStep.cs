using System.Reflection;
using Yarnish.Jobs;

namespace Yarnish.Lineage;

/// <summary>
/// Finds the transformation whose function threw: the stack of a failed task names methods, the lineage holds the functions that were passed and where. Runs only when a job has failed.
/// </summary>
internal static class FailingStep
{
    /// <summary>Objects looked through for functions in one step: captured ones may be wrapped in ours.</summary>
    private const int MaximumObjects = 64;

    /// <summary>Steps looked at; a lineage may have ten thousand.</summary>
    private const int MaximumSteps = 20_000;

    /// <summary><c>Select at Program.cs:31</c>; null when no function of the plan is on the stack.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="stageName">The stage that failed: its own steps come first, since the same function may be passed in several.</param>
    /// <param name="stack">The stack of the error.</param>
    public static string? Find(JobPlan plan, string stageName, string stack)
    {
        var frames = stack.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var own = plan.Stages.Where(stage => stage.Name == stageName).SelectMany(static stage => stage.Steps);
        var steps = own.Concat(plan.Stages.Where(stage => stage.Name != stageName).SelectMany(static stage => stage.Steps)).Take(MaximumSteps)
            .Select(static step => (Step: step, Names: MethodsOf(step))).Where(static step => step.Names.Count > 0).ToList();
        // The innermost frame that is a function of the plan threw, or what it called did.
        foreach (var frame in frames)
        {
            foreach (var (step, names) in steps)
            {
                if (names.Exists(name => Names(frame, name)))
                {
                    return step.ToString();
                }
            }
        }
        return null;
    }

    /// <summary>Functions that a step was given, as they are named on a stack.</summary>
    private static List<string> MethodsOf(LineageNode step)
    {
        var names = new List<string>();
        var seen = new HashSet<object>(ReferenceEqualityComparer.Instance);
        var open = new Stack<object>();
        open.Push(step.Operator);
        foreach (var shuffle in step.Shuffles)
        {
            open.Push(shuffle.Write);
        }
        while (open.TryPop(out var item) && seen.Count < MaximumObjects)
        {
            if (!seen.Add(item))
            {
                continue;
            }
            if (item is Delegate function)
            {
                if (!IsOurs(function.Method))
                {
                    names.Add($"{function.Method.DeclaringType?.FullName?.Replace('+', '.')}.{function.Method.Name}");
                }
                if (function.Target is { } target && IsOurs(function.Method))
                {
                    open.Push(target);
                }
                continue;
            }
            for (var type = item.GetType(); type is not null && type != typeof(object); type = type.BaseType)
            {
                foreach (var field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
                {
                    if (field.GetValue(item) is { } value && (value is Delegate || (value.GetType().Assembly == typeof(FailingStep).Assembly && value is not LineageNode and not IJobRunner and not ShuffleDependency)))
                    {
                        open.Push(value);
                    }
                }
            }
        }
        return names;
    }

    private static bool IsOurs(MethodInfo method) => method.Module.Assembly == typeof(FailingStep).Assembly;

    /// <summary>Whether a frame is that method, or the state machine that the compiler made of it: <c>at Type.Method(…)</c>, <c>at Type.&lt;Method&gt;d__1.MoveNext()</c>.</summary>
    private static bool Names(string frame, string method)
    {
        var dot = method.LastIndexOf('.');
        var at = frame.IndexOf(method, StringComparison.Ordinal);
        if (at > 0 && frame[at - 1] == ' ' && at + method.Length < frame.Length && frame[at + method.Length] is '(' or '[')
        {
            return true;
        }
        return frame.Contains($"{method[..dot]}.<{method[(dot + 1)..]}>", StringComparison.Ordinal);
    }
}
