namespace Yarnish.Serialization;

/// <summary>Refuses functions that cannot travel where they are given, before anything is sent.</summary>
public static class ClosureGuard
{
    /// <summary>Serializes the function for a trial.</summary>
    /// <param name="function">What the user gave.</param>
    /// <param name="operation">To whom, such as <c>Where</c>; the function is added as <c>Where(line => …)</c>.</param>
    /// <param name="callSite">Where, such as <c>Program.cs:42</c>; may be empty.</param>
    /// <returns>A warning for the log when it is large; null when it is not.</returns>
    /// <exception cref="ClosureException">It cannot travel; the message has the path to the culprit and the cure.</exception>
    public static string? Check(Delegate function, string operation, string callSite)
    {
        ArgumentNullException.ThrowIfNull(function);
        return ClosureSerializer.Serialize(function, SubjectOf(function, operation, callSite)).Warning;
    }

    /// <summary>Such as <c>Where(line => …) at Program.cs:42</c>.</summary>
    internal static string SubjectOf(Delegate function, string operation, string callSite) =>
        $"{operation}({TextOf(function)}){(callSite.Length == 0 ? "" : $" at {callSite}")}";

    private static string TextOf(Delegate function)
    {
        var method = function.Method;
        if (method.DeclaringType is null || DelegateShape.IsCompiledExpression(function))
        {
            return "…";
        }

        if (!method.Name.StartsWith('<'))
        {
            return $"{TypeNames.Of(method.DeclaringType)}.{method.Name}";
        }

        // <Main>g__IsLarge|0_0 is the local function IsLarge in Main; <Main>b__0 is a lambda.
        var local = method.Name.IndexOf(">g__", StringComparison.Ordinal);
        if (local >= 0)
        {
            var end = method.Name.IndexOf('|', local);
            return method.Name[(local + 4)..(end < 0 ? method.Name.Length : end)];
        }

        var names = method.GetParameters().Select(parameter => parameter.Name is { Length: > 0 } name && name[0] != '<' ? name : "_").ToArray();
        return names.Length == 1 ? $"{names[0]} => …" : $"({string.Join(", ", names)}) => …";
    }
}
